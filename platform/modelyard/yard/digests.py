"""Digests of bytes, files and folders: `sha256:<64 hex>`. A folder's is over its files' paths, sizes and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from modelyard.errors import IntegrityError, NotFoundError
from modelyard.records import FileDigest
from modelyard.yard.publishing import is_temporary, storage_errors


def digest_bytes(data: bytes) -> str:
    """The digest of bytes in memory."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_file(path: Path) -> str:
    """The digest of a file's content, read in pieces."""
    with storage_errors("read", path), path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_files(files: Sequence[FileDigest]) -> str:
    """One digest for a set of files, whatever their order: over `path`, size and sha256, one line each."""
    lines = [f"{file.sha256} {file.size_bytes} {file.path}\n" for file in sorted(files, key=lambda f: f.path)]
    return digest_bytes("".join(lines).encode())


def digest_folder(path: Path, *, leave_out: Collection[str] = ()) -> tuple[str, tuple[FileDigest, ...]]:
    """The digest of a folder, and of each file in it in path order; `leave_out` are relative paths not counted.

    Raises NotFoundError without such a folder, IntegrityError for a symbolic link.
    """
    if not path.is_dir():
        raise NotFoundError(f"no folder {path}")
    with storage_errors("read", path):
        files = tuple(
            FileDigest(path=name, size_bytes=(path / name).stat().st_size, sha256=digest_file(path / name))
            for name in folder_files(path)
            if name not in leave_out
        )
    return digest_files(files), files


def verify_folder(
    path: Path, files: Sequence[FileDigest], *, exact: bool = False, leave_out: Collection[str] = ()
) -> None:
    """Check every recorded file's presence, size and digest; with `exact` also that there are no others.

    Raises IntegrityError that names the first file at fault.
    """
    for file in files:
        verify_file(path / file.path, file)
    if exact:
        recorded = {file.path for file in files} | set(leave_out)
        for name in folder_files(path):
            if name not in recorded:
                raise IntegrityError(f"{path / name} is not among the files recorded for {path}", hint="remove it")


def verify_file(path: Path, file: FileDigest) -> None:
    """Check one file against its record; raises IntegrityError that says how it differs."""
    restore = "restore the file from a copy, or make it again"
    if path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{path} is recorded but is missing or not a plain file", hint=restore)
    size = path.stat().st_size
    if size != file.size_bytes:
        raise IntegrityError(f"{path} has {size} bytes, recorded are {file.size_bytes}", hint=restore)
    found = digest_file(path)
    if found != file.sha256:
        raise IntegrityError(f"{path} is damaged: its digest is {found}, recorded is {file.sha256}", hint=restore)


def folder_files(path: Path) -> Iterator[str]:
    """Relative POSIX paths of a folder's files, sorted; writers' temporary names are left out."""
    with storage_errors("read", path):
        entries = sorted(path.rglob("*"))
    for entry in entries:
        if is_temporary(entry):
            continue
        if entry.is_symlink():
            raise IntegrityError(f"{entry} is a symbolic link", hint="put the file itself there")
        if entry.is_file():
            yield entry.relative_to(path).as_posix()
