"""JSON lines that grow: appended by one writer, read while it writes; a line torn by a kill harms no other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelyard.yard.publishing import durable_folder, storage_errors


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON object as one line; a torn last line before it is closed off first."""
    line = (json.dumps(row, ensure_ascii=False) + "\n").encode(errors="replace")
    with storage_errors("append to", path):
        durable_folder(path.parent)
        with open(path, "ab+", buffering=0, opener=_opener) as file:
            if file.seek(0, os.SEEK_END) and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                line = b"\n" + line
            while line:
                line = line[file.write(line) :]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file in order; torn lines are left out, a missing file has none."""
    if not path.exists():
        return
    with storage_errors("read", path), path.open("rb") as file:
        for line in file:
            row = _row(line)
            if row is not None:
                yield row


def _opener(path: str, flags: int) -> int:
    """A symbolic link in the file's place is refused: it could lead out of the yard."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def _row(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
