"""Reading records back: bounded, typed, and with an error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from modelyard.errors import IntegrityError, NotFoundError
from modelyard.records import Record
from modelyard.yard.publishing import storage_errors

R = TypeVar("R", bound=Record)
MAX_RECORD_BYTES = 256 * 2**20  # a dataset of a million source files fits; more is not a record of ours


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record; raises NotFoundError, IntegrityError (not such a record) or NewerLayoutError."""
    data = read_bytes(path)
    if data is None:
        raise NotFoundError(f"no {kind.__name__} at {path}")
    return kind.from_json(data, origin=str(path))


def read_bytes(path: Path) -> bytes | None:
    """A small file's content, None when there is none; raises IntegrityError when it is absurdly large."""
    with storage_errors("read", path):
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        if size > MAX_RECORD_BYTES:
            raise IntegrityError(f"{path} has {size} bytes: no record is that large")
        return path.read_bytes()
