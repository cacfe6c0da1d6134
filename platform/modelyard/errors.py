"""Every error a user can meet, sorted by what the caller should do about it.

ModelyardError
├── InvalidInputError        change what was written             exit 2
│   ├── ManifestError        … in a manifest (all faults at once)
│   └── UsageError           … on the command line
├── BadDataError             change the data                     exit 1
├── StorageError             mend the disk or the folder         exit 1
│   ├── IntegrityError       bytes are not those recorded
│   └── NewerLayoutError     use the newer Modelyard
├── ConflictError            someone else was first: look again  exit 1
│   ├── RunHeldError         another driver lives
│   └── FencedError          we are the older attempt: stop, change nothing
├── NotFoundError            name something that exists          exit 2
├── TrainingError            see the failure digest              exit 1
│   ├── NonFiniteLossError
│   ├── WorkerLostError
│   ├── HangError
│   └── OutOfMemoryError
├── GateFailedError          the evidence said no                exit 3
├── NoVerdictError           the evidence did not suffice        exit 4
└── StoppedError             run the same command again          exit 130 (143 on SIGTERM)

`failure_class` is the word that the status document carries (`lastFailure.class`).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FailureClass = Literal[
    "InvalidManifest", "BadData", "OutOfMemory", "WorkerLost", "Hang", "NonFiniteLoss", "Storage",
    "ImagePull", "Unschedulable", "GateFailed", "Interrupted", "Internal",
]  # fmt: skip
"""The words of the status document's `lastFailure.class`."""


class ModelyardError(Exception):
    """The root: `str()` is one sentence a person can act on; `hint` says what to do next."""

    failure_class: FailureClass = "Internal"
    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidInputError(ModelyardError):
    """What was asked for is impossible; nothing was started."""

    failure_class = "InvalidManifest"
    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a manifest: where it stands, what stands there, what may, and the fix.

    `line` and `column` count from 1; 0 means that the place has none (a value from `--set`, Python).
    """

    origin: str
    path: str
    line: int
    column: int
    message: str
    fix: str = ""

    def __str__(self) -> str:
        at = f"{self.origin}:{self.line}:{self.column}" if self.line else self.origin
        named = self.origin.partition("=")[0] == f"--set {self.path}"
        return (at if named else f"{at}: {self.path}") + f": {self.message}" + (f" ({self.fix})" if self.fix else "")


class ManifestError(InvalidInputError):
    """A manifest has faults; all of them are in `faults`, in file order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class UsageError(InvalidInputError):
    """A command line or a call that cannot mean anything."""


class BadDataError(ModelyardError):
    """The input text is missing, empty, or too broken; the message names file and line."""

    failure_class = "BadData"


_DISK_WORDS = {  # what an errno means to the user, and what to do
    errno.ENOSPC: ("the disk is full", "free some space, then run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then run the same command again"),
    errno.EFBIG: ("the file would exceed the largest size allowed here", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose a writable folder with --yard, or mount it read-write"),
    errno.EACCES: ("permission denied", "choose a folder you may write to with --yard, or change its permissions"),
    errno.EPERM: ("operation not permitted", "choose a folder you may write to with --yard"),
    errno.EIO: ("the disk reported an input/output error", "check the disk; what was committed before is intact"),
    errno.ENAMETOOLONG: ("the path is too long", "use a shorter name or a yard nearer to the root"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another folder with --yard"),
    errno.ELOOP: ("a symbolic link stands there", "put the file itself there: links out of the yard are not followed"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
}


class StorageError(ModelyardError):
    """The disk is full, read-only or failing; what was committed before is intact."""

    failure_class = "Storage"
    retryable = True

    @classmethod
    def of(cls, action: str, place: object, error: OSError) -> StorageError:
        """What the operating system refused, in words: `cannot <action> <place>: …`, what is intact, what to do."""
        other = (error.strerror or str(error), "check the folder and the disk below it")
        words, hint = _DISK_WORDS.get(error.errno or 0, other)
        return cls(f"cannot {action} {place}: {words}; what was written before is intact", hint=hint)


class IntegrityError(StorageError):
    """Bytes on disk are not those that were recorded; the message names the file."""

    retryable = False


class NewerLayoutError(StorageError):
    """A record or yard was written by a newer Modelyard than this one."""

    retryable = False


class ConflictError(ModelyardError):
    """Someone else changed the same thing first."""

    failure_class = "Interrupted"


class RunHeldError(ConflictError):
    """A living driver holds the run; the message says who."""


class FencedError(ConflictError):
    """A later attempt has taken over: this one must stop and must not publish."""


class NotFoundError(ModelyardError):
    """A run, model, alias or folder of that name does not exist."""

    failure_class = "InvalidManifest"
    exit_code = 2


class TrainingError(ModelyardError):
    """Training stopped; the class says why, `rank` and `step` where, `evidence` shows it (log lines, few)."""

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        rank: int | None = None,
        step: int | None = None,
        evidence: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.rank = rank
        self.step = step
        self.evidence = tuple(evidence)


class NonFiniteLossError(TrainingError):
    """The loss or the gradient norm was not finite; the weights were not touched by that step."""

    failure_class = "NonFiniteLoss"
    retryable = False


class WorkerLostError(TrainingError):
    """Worker processes died more often in a row than `faultTolerance.maxRestarts` allows."""

    failure_class = "WorkerLost"


class HangError(TrainingError):
    """A step took longer than `faultTolerance.hangTimeoutSeconds`."""

    failure_class = "Hang"


class OutOfMemoryError(TrainingError):
    """A worker ran out of host or device memory."""

    failure_class = "OutOfMemory"
    retryable = False


class GateFailedError(ModelyardError):
    """A gate said no; the evaluation record holds the evidence."""

    failure_class = "GateFailed"
    exit_code = 3


class NoVerdictError(ModelyardError):
    """A verdict could not be reached: too few items, or the evaluation itself failed."""

    failure_class = "GateFailed"
    exit_code = 4


class StoppedError(ModelyardError):
    """Ctrl-C (130) or SIGTERM (143): all is saved; the same command goes on."""

    failure_class = "Interrupted"
    exit_code = 130
    retryable = True

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
