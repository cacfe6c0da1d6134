"""From an exception to the failure digest: the class, one sentence, where, the lines that matter, what to do."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import modelyard
from modelyard.errors import ModelyardError, StorageError, TrainingError
from modelyard.records import FailureDigest, FailurePlace
from modelyard.telemetry import redact

_MAX_LINES = 20  # design of the status document: at most 20 lines, 4 KiB
_MAX_BYTES = 4096


def digest_of(error: BaseException, *, stage: str, step: int | None = None) -> FailureDigest:
    """What `lastFailure` says of `error`, met in `stage`. Secrets are taken out of every text."""
    known = _known(error)
    rank = error.rank if isinstance(error, TrainingError) else None
    if isinstance(error, TrainingError) and error.step is not None:
        step = error.step
    evidence = error.evidence if isinstance(error, TrainingError) and error.evidence else _lines(error, known)
    return FailureDigest(
        failure_class=known.failure_class if known else "Internal",
        message=redact(_sentence(error)),
        where=FailurePlace(stage=stage, rank=rank, step=step, file=None if known else _own_frame(error)),
        evidence=bounded([redact(line) for line in evidence]),
        hint=redact(known.hint) if known else "this is a bug; the traceback is in driver.log",
        retryable=known.retryable if known else False,
    )


def as_modelyard_error(error: BaseException) -> BaseException:
    """The operating system's own words for a bad disk become a StorageError; all else stays what it is."""
    if isinstance(error, OSError) and error.errno in _STORAGE:
        place = f" at {error.filename}" if error.filename else ""
        storage = StorageError(
            f"{_STORAGE[error.errno]}{place}",
            hint="what was committed before is intact; make room or mend the folder, then run the same command",
        )
        storage.__cause__ = error
        return storage
    return error


def bounded(lines: list[str]) -> tuple[str, ...]:
    """The last lines that fit: at most 20 of them and 4 KiB of UTF-8."""
    kept: list[str] = []
    room = _MAX_BYTES
    for line in reversed(lines[-_MAX_LINES:]):
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return tuple(reversed(kept))


_STORAGE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an I/O error",
    errno.EACCES: "permission denied",
}


def _known(error: BaseException) -> ModelyardError | None:
    return error if isinstance(error, ModelyardError) else None


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text if isinstance(error, ModelyardError) else f"{type(error).__name__}: {text.splitlines()[0]}"


def _lines(error: BaseException, known: ModelyardError | None) -> list[str]:
    if known is not None and not (isinstance(known, TrainingError) and known.__cause__):
        return []  # it says in words what is wrong and where; its traceback is in driver.log
    return "".join(traceback.format_exception(error)).splitlines()


def _own_frame(error: BaseException) -> str | None:
    home = Path(modelyard.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(home):
            return f"{Path(frame.filename).relative_to(home.parent)}:{frame.lineno}"
    return None
