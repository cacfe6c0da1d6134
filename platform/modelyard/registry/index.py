"""The index: which versions exist and where aliases point. A protocol, and its store in the files of a yard.

A version's number is claimed put-if-absent before anything is copied (`models/<name>/claims/<version>.json`), so two
registrations at once get two numbers. A version exists when its `version.json` stands; a claim without one is a
registration that has not finished: readers do not see it, and only the same registration may go on with it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelyard.errors import IntegrityError
from modelyard.records import AliasRecord, VersionRecord
from modelyard.registry.claims import ClaimRecord
from modelyard.yard import Yard, checked_name, compare_and_swap, publish, read_record
from modelyard.yard.layout import NAME
from modelyard.yard.publishing import storage_errors
from modelyard.yard.reading import read_bytes

RECORD = "version.json"


class Index(Protocol):
    """Where versions and aliases are kept. Every method is atomic; all but `numbers` and `names` are durable."""

    def names(self) -> list[str]:
        """Models that have a version, sorted."""

    def numbers(self, name: str) -> list[int]:
        """Numbers of a model's versions, the lowest first, whether their records can be read or not."""

    def version(self, name: str, number: int) -> VersionRecord | None:
        """One version; None when it does not exist (yet)."""

    def claims(self, name: str) -> list[ClaimRecord]:
        """Numbers taken, by number, whether their versions are finished or not."""

    def claim(self, claim: ClaimRecord) -> None:
        """Take a number; raises ConflictError when another registration has it."""

    def publish(self, record: VersionRecord) -> None:
        """Make a version exist (again is fine); raises ConflictError when another one stands under its number."""

    def aliases(self, name: str) -> list[AliasRecord]:
        """A model's aliases, removed ones too (version 0), by name."""

    def alias(self, name: str, alias: str) -> AliasRecord | None:
        """An alias's record, removed or not; None when there never was one."""

    def swap_alias(self, expected: AliasRecord | None, new: AliasRecord) -> None:
        """Move an alias; raises ConflictError when it is not `expected` any more."""


@dataclass(frozen=True)
class FileIndex:
    """The index as files below `models/` of a yard."""

    yard: Yard

    def names(self) -> list[str]:
        names = [name for name in _entries(self.yard.models) if NAME.fullmatch(name)]
        return [name for name in names if self.numbers(name)]

    def numbers(self, name: str) -> list[int]:
        numbers = [int(entry) for entry in _entries(self.yard.model(name)) if entry.isascii() and entry.isdigit()]
        return sorted(number for number in numbers if (self.yard.model_folder(name, number) / RECORD).is_file())

    def version(self, name: str, number: int) -> VersionRecord | None:
        path = self.yard.model_folder(name, number) / RECORD
        data = read_bytes(path)
        if data is None:
            return None
        record = VersionRecord.from_json(data, origin=str(path))
        if (record.name, record.version) != (name, number):
            raise IntegrityError(
                f"{path} describes {record.name}@{record.version}", hint="the folder was moved: move it back"
            )
        return record

    def claims(self, name: str) -> list[ClaimRecord]:
        folder = self.yard.model(name) / "claims"
        numbers = [int(name[:-5]) for name in _entries(folder) if name.endswith(".json") and name[:-5].isdigit()]
        return [read_record(folder / f"{number}.json", ClaimRecord) for number in sorted(numbers)]

    def claim(self, claim: ClaimRecord) -> None:
        publish(self.yard.model(claim.name) / "claims" / f"{claim.version}.json", claim.to_json())

    def publish(self, record: VersionRecord) -> None:
        publish(self.yard.model_folder(record.name, record.version) / RECORD, record.to_json())

    def aliases(self, name: str) -> list[AliasRecord]:
        folder = self.yard.model(name) / "aliases"
        return [read_record(folder / alias, AliasRecord) for alias in _entries(folder) if NAME.fullmatch(alias)]

    def alias(self, name: str, alias: str) -> AliasRecord | None:
        path = self._alias(name, alias)
        data = read_bytes(path)
        return None if data is None else AliasRecord.from_json(data, origin=str(path))

    def swap_alias(self, expected: AliasRecord | None, new: AliasRecord) -> None:
        path = self._alias(new.name, new.alias)
        compare_and_swap(path, None if expected is None else expected.to_json(), new.to_json())

    def _alias(self, name: str, alias: str) -> Path:
        return self.yard.model(name) / "aliases" / checked_name(alias, "alias")


def _entries(folder: Path) -> list[str]:
    """Names in a folder, sorted; none when there is no such folder."""
    with storage_errors("read", folder):
        return sorted(os.listdir(folder)) if folder.is_dir() else []
