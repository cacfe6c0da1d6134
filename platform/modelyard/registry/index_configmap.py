"""The index on a cluster: a ConfigMap for each model of a namespace, compared and swapped by its resourceVersion.

It is the truth for aliases, for which numbers are taken, and for what the operator sees of a model. Versions' records
and weights stay files of the yard: a version is read there, so whoever names one by number needs no API server.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from modelyard.errors import ConflictError, IntegrityError, StorageError
from modelyard.kube import AbsentError, ConfigMaps, UnreachableError
from modelyard.records import AliasRecord, IndexRecord, VersionRecord
from modelyard.registry.claims import ClaimRecord, check_own
from modelyard.registry.index import FileIndex
from modelyard.registry.indexing import adopted, alias_of, claimed, claims_of, fitted, listed, pointed
from modelyard.yard import checked_name
from modelyard.yard.faults import point

INDEX_KEY = "index.json"
PATIENCE_SECONDS = 120.0  # a control plane that restarts comes back in that time. By feel
_LONGEST_PAUSE_SECONDS = 10.0

T = TypeVar("T")
Change = Callable[[IndexRecord], IndexRecord]


def index_name(model: str) -> str:
    """The ConfigMap of a model's index."""
    return f"modelyard-model-{checked_name(model, 'model')}"


@dataclass(frozen=True)
class ConfigMapIndex:
    """Raises KubeError besides what every index raises, once the API server has not answered for long."""

    files: FileIndex
    maps: ConfigMaps
    patience_seconds: float = PATIENCE_SECONDS

    def names(self) -> list[str]:
        return self.files.names()

    def numbers(self, name: str) -> list[int]:
        return self.files.numbers(name)

    def version(self, name: str, number: int) -> VersionRecord | None:
        return self.files.version(name, number)

    def claims(self, name: str) -> list[ClaimRecord]:
        """Those of the files too: a yard that served a machine before it came to the cluster."""
        return [*self.files.claims(name), *claims_of(self._read(name))]

    def claim(self, claim: ClaimRecord) -> None:
        self._change(claim.name, lambda index: claimed(index, claim))

    def publish(self, record: VersionRecord) -> None:
        """The record first, then the list: a registration that dies between the two is finished by its repetition."""
        with suppress(ConflictError):  # a repetition's record has another time in it
            self.files.publish(record)
        standing = self.files.version(record.name, record.version) or record
        check_own(standing, record.digest, record.run_id)
        point("registry.published")
        self._change(record.name, lambda index: listed(index, standing))

    def aliases(self, name: str) -> list[AliasRecord]:
        index = self._read(name)
        found = {one.alias: one for one in self.files.aliases(name)} if not index.versions else {}
        found |= {alias: one for alias in index.aliases if (one := alias_of(index, alias))}
        return [found[alias] for alias in sorted(found)]

    def alias(self, name: str, alias: str) -> AliasRecord | None:
        return next((one for one in self.aliases(name) if one.alias == alias), None)

    def swap_alias(self, expected: AliasRecord | None, new: AliasRecord) -> None:
        self._change(new.name, lambda index: pointed(index, expected, new))

    def _read(self, name: str) -> IndexRecord:
        """The index; an empty one for a model that has no ConfigMap."""
        try:
            return self._asked(lambda: self._index(name))[0]
        except AbsentError:
            return IndexRecord(name=name)

    def _change(self, name: str, change: Change) -> None:
        """Compare and swap until it is done: a change that someone else's came before is made again on theirs."""
        until = time.monotonic() + self.patience_seconds
        while True:
            try:
                self._asked(lambda: self._swap(name, change))
            except _SwappedError as error:
                if time.monotonic() > until:
                    raise ConflictError(f"ConfigMap {index_name(name)} never stands still", hint="retry") from error
                time.sleep(random.uniform(0, 0.05))
            else:
                return

    def _swap(self, name: str, change: Change) -> None:
        index, resource_version = self._index(name)
        wanted = change(adopted(index, *self._standing(name, index)))
        if wanted == index:
            return
        try:
            self.maps.patch(index_name(name), {INDEX_KEY: fitted(wanted)}, resource_version=resource_version)
        except ConflictError as error:
            raise _SwappedError from error

    def _index(self, name: str) -> tuple[IndexRecord, str]:
        found = self.maps.get(index_name(name))
        text = found.data.get(INDEX_KEY, "").strip()
        if not text:
            return IndexRecord(name=name), found.resource_version
        index = IndexRecord.from_json(text, origin=f"ConfigMap {found.name}: {INDEX_KEY}")
        if index.name != name:
            raise IntegrityError(f"ConfigMap {found.name} holds the index of {index.name!r}", hint="mend it by hand")
        return index, found.resource_version

    def _standing(self, name: str, index: IndexRecord) -> tuple[list[VersionRecord], list[AliasRecord]]:
        """What the files hold, when the index holds nothing. A damaged version stays out of it."""
        if index.versions:
            return [], []
        records = []
        for number in self.files.numbers(name):
            with suppress(StorageError):
                records.append(self.files.version(name, number))
        return [record for record in records if record is not None], self.files.aliases(name)

    def _asked(self, ask: Callable[[], T]) -> T:
        """Asked again while the server does not answer, for as long as patience lasts."""
        until = time.monotonic() + self.patience_seconds
        pause = 0.5
        while True:
            try:
                return ask()
            except UnreachableError as error:
                wait = max(pause * random.uniform(0.75, 1.25), error.retry_after_seconds)
                if time.monotonic() + wait > until:
                    raise
                time.sleep(wait)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


class _SwappedError(Exception):
    """Someone else's change came between look and swap."""
