"""Folders for Ray's sockets and logs outside the yard, since a socket's path is short. They go with their process.

A killed process cannot remove its own: the next one does, told by a lock that the kernel lets go of.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "my-"
_HELD = "held"  # locked for as long as the process lives that made the folder
_locks: dict[Path, int] = {}


def open_scratch(parent: str | None = None) -> Path:
    """A new folder below `parent` (default: the system's temporary folder); removes those of killed processes."""
    below = Path(parent or tempfile.gettempdir())
    for held in below.glob(f"{_PREFIX}*/{_HELD}"):
        _remove_abandoned(held)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=below))
    lock = os.open(folder / "new", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.rename(folder / "new", folder / _HELD)  # locked before anyone may find it
    _locks[folder] = lock
    return folder


def close_scratch(folder: Path, *, keep: bool = False) -> None:
    """Remove the folder; with `keep` it stays for a person to read."""
    with contextlib.suppress(OSError):
        (folder / _HELD).unlink()
    lock = _locks.pop(folder, None)
    if lock is not None:
        os.close(lock)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(held: Path) -> None:
    """Remove the folder of `held` when nobody locks it and it is ours."""
    with contextlib.suppress(OSError):
        lock = os.open(held, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(held.parent, ignore_errors=True)
        finally:
            os.close(lock)
