"""What the driver tells whoever watches: the live display, plain lines, a notebook. Facts, no words for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelyard.records import Progress, StatusDocument


@dataclass(frozen=True)
class StageBegan:
    """A stage starts to work."""

    stage: str


@dataclass(frozen=True)
class StageSkipped:
    """A stage's record stands and its inputs are the same."""

    stage: str
    summary: str


@dataclass(frozen=True)
class StageDone:
    """A stage wrote its record."""

    stage: str
    seconds: float
    summary: str


@dataclass(frozen=True)
class Progressed:
    """A step, a file, a document further. `loss` is in nats per token.

    Stages that do not train say what they are `doing`, and how much of it is `done` of `total` (bytes, documents).
    """

    progress: Progress
    doing: str = ""
    done: int = 0
    total: int = 0
    loss: float | None = None
    validation_loss: float | None = None


@dataclass(frozen=True)
class Note:
    """A sentence worth a line: a warning, a restart, a fall-back."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class RunEnded:
    """The last word on a run."""

    status: StatusDocument


News = StageBegan | StageSkipped | StageDone | Progressed | Note | RunEnded
Listener = Callable[[News], None]
