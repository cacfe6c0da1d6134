"""A source's path, resolved: which files it means, their format and compression.

A relative path starts at the storage root and does not go up; an absolute one means itself. A link that is named in
the path is followed wherever it leads: it is the user's word. What a folder or glob finds must really lie below its
fixed part: a link there that leads elsewhere is refused by name.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.errors import BadDataError, InvalidInputError

if TYPE_CHECKING:
    from modelyard.spec import SourceSpec

SUFFIXES = {"jsonl": (".jsonl", ".ndjson"), "text": (".txt", ".text", ".md", ".rst")}
UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # control characters; bytes that are not UTF-8
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class FoundFile:
    """An input file as it stood when it was found. `name` is relative to the storage root when it lies below it.

    `format` is jsonl or text; `compression` is gzip, zstd or empty.
    """

    path: Path
    name: str
    format: str
    compression: str
    size_bytes: int
    mtime_ns: int


def find_files(source: SourceSpec, *, root: Path) -> tuple[FoundFile, ...]:
    """The files of a source, in the order of their names.

    A folder means all files below it whose names end as its format does (hidden ones left out); a glob means what it
    matches; a file means itself, whatever its name. Raises BadDataError when nothing is found, InvalidInputError for
    a path that goes up, a link found that leads elsewhere, or a file whose format cannot be told.
    """
    where = Path(source.path)
    if not where.is_absolute() and ".." in where.parts:
        raise InvalidInputError(
            f"source {source.name!r}: path {source.path!r} leaves the storage root", hint="write an absolute path"
        )
    full = root / where
    if full.is_dir():
        paths = [path for path in _walk(full) if _looks_like(path.name, source.format)]
        base, missing = full, f"has no file that ends in {_endings(source.format)}"
    elif full.exists():
        paths, base, missing = [full], full, ""
    elif glob.has_magic(source.path):
        matches = glob.glob(source.path, root_dir=root, recursive=True)
        # one match may come several times: `**/**` names a file by every way to divide its folders
        paths = sorted({path for match in matches if not (path := root / match).is_dir()})
        base, missing = root / _fixed_part(where), "matches no file"
    else:
        paths, base, missing = [], full, "does not exist"
    if not paths:
        raise BadDataError(
            f"source {source.name!r}: {source.path} {missing}",
            hint=f"relative paths start at the storage root, here {root.resolve()}",
        )
    real_base = base.resolve()
    return tuple(_found(path, source, root, real_base) for path in paths)


def _found(path: Path, source: SourceSpec, root: Path, real_base: Path) -> FoundFile:
    if UNWRITABLE.search(str(path)):
        raise InvalidInputError(
            f"source {source.name!r}: {str(path)!r} has a name that cannot be written down in a record",
            hint="rename it: UTF-8 without control characters",
        )
    real = path.resolve()
    if not real.is_relative_to(real_base):
        raise InvalidInputError(
            f"source {source.name!r}: {path} is a link that leads to {real}, outside {real_base}",
            hint="name the target itself in a source of its own",
        )
    try:
        status = real.stat()
    except OSError as error:
        raise BadDataError(f"source {source.name!r}: {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInputError(f"source {source.name!r}: {path} is not a regular file")
    bare, compression = _uncompressed(path.name)
    told = (kind for kind, ends in SUFFIXES.items() if bare.endswith(ends))
    file_format: str | None = source.format or next(told, None)
    if file_format is None:
        raise InvalidInputError(
            f"source {source.name!r}: the format of {path} cannot be told from its name",
            hint=f"set format to one of {', '.join(SUFFIXES)}",
        )
    name = path.absolute()
    shown = name.relative_to(root.absolute()) if name.is_relative_to(root.absolute()) else name
    return FoundFile(real, shown.as_posix(), file_format, compression, status.st_size, status.st_mtime_ns)


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _unreadable(error: OSError) -> None:
    raise BadDataError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _uncompressed(name: str) -> tuple[str, str]:
    lower = name.lower()
    for suffix, compression in COMPRESSIONS.items():
        if lower.endswith(suffix):
            return lower.removesuffix(suffix), compression
    return lower, ""


def _looks_like(name: str, file_format: str | None) -> bool:
    return _uncompressed(name)[0].endswith(_suffixes(file_format))


def _suffixes(file_format: str | None) -> tuple[str, ...]:
    return SUFFIXES.get(file_format or "", tuple(end for ends in SUFFIXES.values() for end in ends))


def _endings(file_format: str | None) -> str:
    return f"{', '.join(_suffixes(file_format))} (also with {', '.join(COMPRESSIONS)})"
