"""Why a worker group failed: each worker leaves a note of its own end, and the first cause is chosen from them."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard.errors import (
    BadDataError,
    FencedError,
    HangError,
    InvalidInputError,
    ModelyardError,
    NonFiniteLossError,
    OutOfMemoryError,
    StorageError,
    TrainingError,
    WorkerLostError,
)
from modelyard.telemetry import redact
from modelyard.train.task import WorkerFailure
from modelyard.train.watch import WAITING

# What a rank sees when another one has gone (gloo, NCCL, the store): never the first cause. A dash beside the name of a
# library makes it part of a job's or a folder's name.
COLLATERAL = re.compile(
    r"connection (?:closed|reset) by peer|connection refused|broken pipe|store->get|distbackenderror|distnetworkerror|"
    r"timed out waiting|(?<!-)(?:gloo|nccl|socket)(?!-)",
    re.IGNORECASE,
)
MEMORY_WORDS = ("running low on memory", "OutOfMemoryError", "memory monitor")  # Ray's own, when it was Ray that killed
EVIDENCE_LINES = 20


@dataclass(frozen=True)
class FailureNote:
    """What one worker says of its own end. `time` in seconds since the epoch."""

    rank: int
    time: float
    failure_class: str
    error: str
    message: str
    step: int = 0
    hint: str = ""
    retryable: bool = True
    evidence: tuple[str, ...] = ()
    collateral: bool = False


def note_of(error: BaseException, *, rank: int, step: int, now: float) -> FailureNote:
    """A worker's exception as it is told."""
    lines = redact("".join(traceback.format_exception(error))).splitlines()[-EVIDENCE_LINES:]
    collateral = False
    if isinstance(error, ModelyardError):
        failure_class, hint, retryable = error.failure_class, error.hint, error.retryable
    elif is_out_of_memory(error):
        failure_class, retryable = "OutOfMemory", False
        hint = "smaller optimization.globalBatchTokens, more workers, a higher sharding.zeroStage, or more memory"
    else:
        collateral = is_collateral(error)
        failure_class, hint, retryable = "Internal", "", collateral
    return FailureNote(
        rank=rank, time=now, failure_class=failure_class, error=type(error).__name__,
        message=redact(str(error) or type(error).__name__)[:2000], step=step, hint=hint, retryable=retryable,
        evidence=tuple(lines), collateral=collateral,
    )  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Host or device memory, by class and by torch's words for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def is_collateral(error: BaseException) -> bool:
    """Whether a library's error only says that another worker is gone; one about a file never does."""
    return getattr(error, "filename", None) is None and bool(COLLATERAL.search(str(error)))


def first_cause(notes: Sequence[FailureNote], deaths: Mapping[int, str]) -> WorkerFailure:
    """The failure that came first: a worker's own error, else the death of a process, else what is left.

    `deaths` are ranks whose process vanished without a word, with how the launcher describes it.
    """
    own = sorted((n for n in notes if not n.collateral), key=lambda n: (WAITING in n.message, n.time))
    if own:
        return _told(own[0])
    if deaths:
        return _death(min(deaths), redact(deaths[min(deaths)]), step=max((n.step for n in notes), default=None))
    if notes:
        return _told(min(notes, key=lambda n: n.time))
    return WorkerFailure("WorkerLost", "the worker group ended without a word")


def _death(rank: int, how: str, *, step: int | None) -> WorkerFailure:
    """A process that vanished; `how` is Ray's text, which names the OOM killer as a possible cause every time."""
    memory = any(word in how for word in MEMORY_WORDS)
    who = f"the process of rank {rank}" if rank >= 0 else "Ray Train's controller, or a worker at its start,"
    return WorkerFailure(
        failure_class="OutOfMemory" if memory else "WorkerLost",
        message=f"{who} was killed: the machine ran out of memory" if memory else f"{who} died without a word",
        rank=rank if rank >= 0 else None,
        step=step,
        evidence=tuple(how.splitlines()[-EVIDENCE_LINES:]),
        hint="" if memory else "the machine's log (dmesg) says whether the kernel killed it for want of memory",
    )


def _told(note: FailureNote) -> WorkerFailure:
    return WorkerFailure(
        failure_class=note.failure_class, message=note.message, rank=note.rank, step=note.step,
        evidence=note.evidence, retryable=note.retryable, hint=note.hint,
    )  # fmt: skip


def error_of(failure: WorkerFailure) -> ModelyardError:
    """The exception that a failure is raised as in the driver."""
    plain = {"InvalidManifest": InvalidInputError, "BadData": BadDataError, "Storage": StorageError}
    training = {
        "NonFiniteLoss": NonFiniteLossError,
        "Hang": HangError,
        "OutOfMemory": OutOfMemoryError,
        "WorkerLost": WorkerLostError,
    }
    error: ModelyardError
    if failure.failure_class == "Interrupted":
        error = FencedError(failure.message)
    elif failure.failure_class in plain:
        error = plain[failure.failure_class](failure.message, hint=failure.hint)
    else:
        error = training.get(failure.failure_class, TrainingError)(
            failure.message, hint=failure.hint, rank=failure.rank, step=failure.step, evidence=failure.evidence
        )
    error.retryable = failure.retryable
    return error


def note_path(folder: Path, rank: int) -> Path:
    """Where a rank of the present group writes its note."""
    return folder / f"rank-{rank}.json"


def write_note(folder: Path, note: FailureNote) -> None:
    """Leave a worker's note for the driver; never raises (the failure itself must come through)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        note_path(folder, note.rank).write_text(json.dumps(asdict(note)), encoding="utf-8")
    except OSError:
        traceback.print_exc()


def take_notes(folder: Path, *, since: float) -> list[FailureNote]:
    """The notes that workers left since a moment, and away with them."""
    notes = []
    for path in sorted(folder.glob("rank-*.json")) if folder.is_dir() else []:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            note = FailureNote(**{**document, "evidence": tuple(document["evidence"])})
        except (OSError, ValueError, TypeError, KeyError):
            continue
        finally:
            path.unlink(missing_ok=True)
        if note.time >= since:
            notes.append(note)
    return notes
