"""A model's files on their way into a version: copied, checked against their digests while they are copied, durable.

Copied and not hard-linked: a link shares its bytes with the run's export, and whoever rewrites that in place later
(a rerun's export, an editor) would change the version. The copies are made read-only for the same reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from modelyard.errors import IntegrityError
from modelyard.records import FileDigest
from modelyard.yard import digest_file, durable_folder, fsync_folder
from modelyard.yard.faults import point
from modelyard.yard.publishing import storage_errors, temporary_name

CHUNK_BYTES = 1 << 20


def copy_folder(source: Path, target: Path, files: Sequence[FileDigest]) -> None:
    """Copy the files recorded of `source` to `target`; files that stand there already, whole, are left alone.

    Raises IntegrityError when a source file is not what was recorded, StorageError when the disk refuses.
    """
    durable_folder(target)
    for file in files:
        path = target / file.path
        if not _is(path, file):
            durable_folder(path.parent)
            _copy(source / file.path, path, file)
            point("registry.file.copied")
    for folder in sorted({(target / file.path).parent for file in files}):
        fsync_folder(folder)


def _is(path: Path, file: FileDigest) -> bool:
    """Whether an earlier, killed registration copied this file whole."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    return digest_file(path) == file.sha256


def _copy(source: Path, target: Path, file: FileDigest) -> None:
    temporary = temporary_name(target)
    digest = hashlib.sha256()
    try:
        with storage_errors("copy to", target), source.open("rb") as reader, temporary.open("xb") as writer:
            while chunk := reader.read(CHUNK_BYTES):
                digest.update(chunk)
                writer.write(chunk)
            writer.flush()
            os.fchmod(writer.fileno(), 0o444)
            os.fsync(writer.fileno())
        if f"sha256:{digest.hexdigest()}" != file.sha256:
            raise IntegrityError(
                f"{source} changed while it was registered", hint="register again when nothing writes it"
            )
        with storage_errors("copy to", target):
            os.rename(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
