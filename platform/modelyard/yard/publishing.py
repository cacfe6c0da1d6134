"""Durable writing: whatever happens in the middle, a reader sees the old content or the new, whole.

A write is: a temporary name beside the target, write, fsync, link (put-if-absent) or rename (replace), fsync of the
folder. Temporary names start with a dot and end with `.tmp`: no reader looks at them, `sweep` removes old ones.
Every error of the operating system leaves here as a StorageError that says what is wrong and what is intact.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from modelyard.errors import ConflictError, StorageError
from modelyard.yard.faults import point

LOCK_WAIT_SECONDS = 20.0  # a swap takes milliseconds; a holder that needs longer is frozen. By feel
SWEEP_AGE_SECONDS = 3600.0  # no write of ours takes that long between two system calls. By feel
Guard = Callable[[], None]
_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


@contextlib.contextmanager
def storage_errors(action: str, path: Path, guard: Guard | None = None) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the place, the fault, what is intact and the fix.

    `guard` may know a better reason: a take-over sweeps away what a fenced writer had not yet named.
    """
    try:
        yield
    except OSError as error:
        if guard is not None:
            guard()
        raise StorageError.of(action, path, error) from error


def publish(path: Path, data: bytes, *, guard: Guard | None = None) -> None:
    """Write `path` once: put-if-absent, durable. The same content again is fine.

    `guard` is asked last, right before the content takes its name (and after a failure: a fenced writer is told so).
    Raises ConflictError when other content stands there, StorageError when the disk refuses.
    """
    with storage_errors("write", path, guard):
        if _stands(path, data):
            fsync_folder(path.parent)  # whoever wrote it may have died before this
            return
        durable_folder(path.parent)
        temporary = _write_temporary(path, data)
        try:
            point("yard.publish.written")
            if guard is not None:
                guard()
            if not _put_if_absent(temporary, path):
                _stands(path, data)
            point("yard.publish.linked")
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        fsync_folder(path.parent)


def replace(path: Path, data: bytes, *, guard: Guard | None = None) -> None:
    """Write `path` anew: a reader sees the old content or the new, never a mixture. Durable.

    `guard` as for `publish`: what it raises leaves the old content.
    """
    with storage_errors("write", path, guard):
        durable_folder(path.parent)
        temporary = _write_temporary(path, data)
        try:
            if guard is not None:
                guard()
            point("yard.replace.guarded")
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def compare_and_swap(path: Path, expected: bytes | None, new: bytes) -> None:
    """Replace `path` only while its content is `expected` (None: it does not exist). Durable.

    Raises ConflictError when it is not, or when another process holds the file's lock for too long.
    """
    with _locked(path):
        with storage_errors("read", path):
            current = path.read_bytes() if path.exists() else None
        if current != expected:
            raise ConflictError(f"{path} was changed by someone else in the meantime", hint="look again, then retry")
        replace(path, new)


def discard(path: Path, *, guard: Guard | None = None) -> None:
    """Remove a file or a whole folder that may not be there.

    A folder loses its name at once and its content after that: who freezes amid the removal and wakes after a
    take-over removes nothing of his successor's. What a killed one leaves, `sweep` removes. `guard` as for `publish`.
    """
    with storage_errors("remove", path, guard):
        aside = temporary_name(path)
        if guard is not None:
            guard()
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, aside)
    with contextlib.suppress(OSError):
        _remove(aside)


def durable_folder(path: Path) -> Path:
    """Make a folder and its parents; their names survive a crash."""
    if path.is_dir():
        return path
    with storage_errors("create the folder", path):
        missing = [path, *path.parents]
        missing = missing[: next(i for i, folder in enumerate(missing) if folder.exists())]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            fsync_folder(folder.parent)
    return path


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable (file systems that cannot, such as some network mounts, are left alone)."""
    with storage_errors("sync the folder", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def fsync_tree(path: Path) -> None:
    """Make a folder's files durable, with their names and all that is below it."""
    with storage_errors("sync the folder", path):
        for entry in path.rglob("*"):
            if entry.is_file():
                with entry.open("rb") as file:
                    os.fsync(file.fileno())
        for folder in (path, *(entry for entry in path.rglob("*") if entry.is_dir()), path.parent):
            fsync_folder(folder)


def sweep(folder: Path, *, older_than_seconds: float = SWEEP_AGE_SECONDS) -> list[Path]:
    """Remove what killed writers left in `folder` (not below it) under temporary names; returns what was removed."""
    removed = []
    now = time.time()
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if now - path.lstat().st_mtime >= older_than_seconds:
                _remove(path)
                removed.append(path)
    return removed


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a name is one that only writers use: a temporary file or a lock."""
    return path.name.startswith(".") and path.name.endswith((".tmp", ".lock"))


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no reader looks at."""
    return path.with_name(f".{path.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _stands(path: Path, data: bytes) -> bool:
    """Whether `path` holds exactly `data`; raises ConflictError for other content."""
    try:
        standing = path.read_bytes()
    except FileNotFoundError:
        return False
    if standing != data:
        raise ConflictError(f"{path} exists already with other content", hint="someone else was first: look at it")
    return True


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return temporary


def _put_if_absent(temporary: Path, path: Path) -> bool:
    """Give a written file its name unless the name is taken; False when it is."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return _rename_if_absent(temporary, path)
    return True


def _rename_if_absent(temporary: Path, path: Path) -> bool:
    """For file systems without hard links: the lock makes look and rename one step."""
    with _locked(path):
        if path.exists():
            return False
        os.rename(temporary, path)
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An exclusive lock beside `path`, let go by the system when its holder dies. The lock file stays."""
    lock = path.with_name(f".{path.name}.lock")
    with storage_errors("lock", lock):
        durable_folder(path.parent)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _wait_for(lock, descriptor)
        yield
    finally:
        with storage_errors("unlock", lock):
            os.close(descriptor)


def _wait_for(lock: Path, descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        with storage_errors("lock", lock), contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{lock} has been held by another process for {LOCK_WAIT_SECONDS:.0f} s",
                hint="a frozen process holds it: end that process, then retry",
            )
        time.sleep(0.01)
