"""JSON lines of telemetry: one write a line, rows of torn lines left out. A live writer and a reader may overlap."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelyard.errors import StorageError


class RowWriter:
    """Appends JSON objects to a file; a line torn by a killed writer before us is closed off first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; raises StorageError when the disk refuses (the rows before it are intact)."""
        line = (json.dumps(row, ensure_ascii=False, allow_nan=True) + "\n").encode(errors="replace")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+", buffering=0, opener=_opener) as file:
                if file.seek(0, os.SEEK_END) and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    line = b"\n" + line
                while line:
                    line = line[file.write(line) :]
        except OSError as error:
            raise StorageError.of("append to", self.path, error) from error


def _opener(path: str, flags: int) -> int:
    """A symbolic link in the file's place is refused: it could lead out of the yard."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file in order; torn lines are left out, a missing file has none."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            yield from filter(None, map(_row, file))
    except OSError as error:
        raise StorageError.of("read", path, error) from error


def _row(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
