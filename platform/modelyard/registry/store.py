"""Model versions: registered once, never changed, named by number or alias, verified by digest."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from modelyard.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError, StorageError
from modelyard.kube import in_cluster
from modelyard.records import AliasChange, AliasRecord, MetricValue, VersionRecord
from modelyard.records.status import Verdict
from modelyard.registry.claims import ClaimRecord, check_own, findings_of
from modelyard.registry.copying import copy_folder
from modelyard.registry.index import RECORD, FileIndex, Index
from modelyard.registry.references import checked_alias, parse_reference
from modelyard.telemetry import redact, utc_now
from modelyard.yard import Yard, checked_name, digest_files, digest_folder, sweep, verify_folder
from modelyard.yard.faults import point


class Resolved(NamedTuple):
    """A version that exists: its record, and the folder of its files."""

    record: VersionRecord
    folder: Path

    @property
    def label(self) -> str:
        """`name@version`, as responses and reports name it."""
        return f"{self.record.name}@{self.record.version}"


class Registry:
    """The models of a yard."""

    def __init__(self, yard: Yard, index: Index, now: Callable[[], str] = utc_now) -> None:
        self.yard = yard
        self.index = index
        self._now = now

    def register(
        self,
        name: str,
        folder: Path,
        *,
        expected_digest: str | None = None,
        run_id: str,
        spec_digest: str,
        training_digest: str,
        dataset_digest: str,
        code_version: str,
        parent: str | None = None,
        step: int = 0,
        parameters: int = 0,
        verdict: Verdict | None = None,
        metrics: Sequence[MetricValue] = (),
        environment: dict[str, str] | None = None,
    ) -> VersionRecord:
        """Make a Hugging Face folder an immutable version of a model.

        The same run with the same bytes, verdict and metrics is the same version: a registration that was killed
        anywhere is finished by doing it again, one that was finished is returned as it stands.
        Raises InvalidInputError for an empty folder, IntegrityError when the folder is not what `expected_digest`
        says or changes meanwhile, StorageError when the disk refuses.
        """
        checked_name(name, "model")
        digest, files = digest_folder(folder, leave_out=(RECORD,))
        if not files:
            raise InvalidInputError(f"{folder} is empty: nothing to register as {name!r}")
        if expected_digest not in (None, digest):
            raise IntegrityError(
                f"{folder} has the digest {digest}, recorded was {expected_digest}",
                hint="with --verify the run makes it anew",
            )
        findings = findings_of(verdict, metrics)
        version = self._claim(ClaimRecord(name=name, version=1, run_id=run_id, digest=digest, findings=findings))
        point("registry.claimed")
        standing = self.index.version(name, version)
        if standing is not None:
            check_own(standing, digest, run_id)
            self.index.publish(standing)
            self._tidy(standing)
            return standing
        record = VersionRecord(
            name=name, version=version, digest=digest, files=files, run_id=run_id, spec_digest=spec_digest,
            training_digest=training_digest, dataset_digest=dataset_digest, code_version=code_version, parent=parent,
            step=step, parameters=parameters, verdict=verdict, metrics=tuple(metrics), created=self._now(),
            environment=environment or {},
        )  # fmt: skip
        try:
            copy_folder(folder, self.yard.model_folder(name, version), files)
            point("registry.copied")
            self.index.publish(record)
        except (ConflictError, StorageError):
            # The same registration in another process was first, and may have swept away what we were writing.
            if self.index.version(name, version) is None:
                raise
        self._tidy(record)
        return self.index.version(name, version) or record

    def names(self) -> list[str]:
        """Models that have a version, sorted."""
        return self.index.names()

    def numbers(self, name: str) -> list[int]:
        """Numbers of a model's versions, the lowest first; raises NotFoundError that names near models."""
        numbers = self.index.numbers(name)
        if not numbers:
            raise NotFoundError(f"no model {name!r} in {self.yard.root}", hint=self._near(name))
        return numbers

    def version(self, name: str, number: int) -> VersionRecord:
        """One version; raises NotFoundError that says what there is, IntegrityError when its record is damaged."""
        record = self.index.version(name, number) if number > 0 else None
        if record is None:
            has = ", ".join(str(one) for one in self.numbers(name)[-5:])
            raise NotFoundError(f"model {name!r} has no version {number}", hint=f"it has {has}")
        return record

    def versions(self, name: str) -> list[VersionRecord]:
        """A model's versions, by number; raises as `numbers` and `version` do."""
        return [self.version(name, number) for number in self.numbers(name)]

    def resolve(self, reference: str) -> Resolved:
        """The version that a reference names now: `registry://name@alias-or-version`, `name@…`, `name` (the highest).

        Raises InvalidInputError (not a reference), NotFoundError that says what there is.
        """
        name, version, alias = parse_reference(reference)
        highest = self.numbers(name)[-1]
        if alias is not None:
            version = self._aliased(name, alias)
        record = self.version(name, highest if version is None else version)
        return Resolved(record, self.yard.model_folder(name, record.version))

    def verify(self, version: VersionRecord | Resolved) -> None:
        """Hash every file of a version; raises IntegrityError that names the first that is not as recorded."""
        record = version.record if isinstance(version, Resolved) else version
        folder = self.yard.model_folder(record.name, record.version)
        if digest_files(record.files) != record.digest:
            raise IntegrityError(f"{folder / RECORD} is damaged: its digest is not that of the files it lists")
        verify_folder(folder, record.files, exact=True, leave_out=(RECORD,))

    def aliases(self, name: str) -> dict[str, int]:
        """A model's aliases that point somewhere, by name."""
        return {record.alias: record.version for record in self.index.aliases(name) if record.version}

    def alias(self, name: str, alias: str) -> AliasRecord | None:
        """An alias with its history (also of a removed one: version 0); None when there never was one."""
        return self.index.alias(checked_name(name, "model"), checked_alias(alias))

    def set_alias(
        self, name: str, alias: str, version: int, *, by: str, reason: str = "", expected_revision: int | None = None
    ) -> AliasRecord:
        """Point an alias at a version. Pointing where it points already changes nothing.

        With `expected_revision` (0: it does not exist) raises ConflictError when someone else moved it since;
        without, concurrent moves follow one another and the history keeps each.
        """
        self.version(name, version)
        return self._move(name, alias, version, by=by, reason=reason, expected_revision=expected_revision)

    def remove_alias(
        self, name: str, alias: str, *, by: str, reason: str = "", expected_revision: int | None = None
    ) -> AliasRecord:
        """Take an alias away; its history stays. Raises NotFoundError when it points nowhere."""
        self._aliased(name, alias)
        return self._move(name, alias, 0, by=by, reason=reason, expected_revision=expected_revision)

    def _claim(self, wanted: ClaimRecord) -> int:
        """The number of this registration: the one it claimed before it was killed, or the next."""
        while True:
            claims = self.index.claims(wanted.name)
            for claim in claims:
                if claim.model_copy(update={"version": wanted.version}) == wanted:
                    return claim.version
            taken = [claim.version for claim in claims] + self.index.numbers(wanted.name)
            version = max(taken, default=0) + 1
            with contextlib.suppress(ConflictError):  # another registration took it: look again
                self.index.claim(wanted.model_copy(update={"version": version}))
                return version

    def _tidy(self, record: VersionRecord) -> None:
        """Remove what killed registrations of a version that stands left behind, whatever its age: none needs it."""
        target = self.yard.model_folder(record.name, record.version)
        for folder in {(target / file.path).parent for file in record.files} | {target}:
            sweep(folder, older_than_seconds=0)

    def _aliased(self, name: str, alias: str) -> int:
        record = self.alias(name, alias)
        if record is None or not record.version:
            known = ", ".join(sorted(self.aliases(name))) or "none"
            raise NotFoundError(f"model {name!r} has no alias {alias!r}", hint=f"its aliases: {known}")
        return record.version

    def _move(
        self, name: str, alias: str, version: int, *, by: str, reason: str, expected_revision: int | None
    ) -> AliasRecord:
        while True:
            standing = self.alias(name, alias)
            revision = standing.revision if standing else 0
            if expected_revision is not None and revision != expected_revision:
                raise ConflictError(
                    f"alias {alias!r} of {name!r} was moved by someone else: revision {revision} now",
                    hint=f"`modelyard alias {name} {alias}` shows its history",
                )
            if standing is not None and standing.version == version:
                return standing
            change = AliasChange(version=version, time=self._now(), by=redact(by), reason=redact(reason))
            history = (*(standing.history if standing else ()), change)
            new = AliasRecord(name=name, alias=alias, version=version, revision=revision + 1, history=history)
            try:
                self.index.swap_alias(standing, new)
            except ConflictError:
                if self.alias(name, alias) == standing:  # not a race: the lock is held
                    raise
                continue
            return new

    def _near(self, name: str) -> str:
        names = self.names()
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            return f"did you mean {' or '.join(near)}?"
        return "`modelyard models` lists them" if names else "no model is registered yet"


def open_registry(yard: Yard) -> Registry:
    """The registry of a yard: its index in its files or, in a pod of the operator's, in the namespace's ConfigMaps."""
    files = FileIndex(yard)
    account = in_cluster()
    if account is None:
        return Registry(yard, files)
    from modelyard.kube.server import ServerConfigMaps
    from modelyard.registry.index_configmap import ConfigMapIndex

    return Registry(yard, ConfigMapIndex(files, ServerConfigMaps(account)))
