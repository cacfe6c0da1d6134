"""One attempt at a run: the things every stage needs, held together for as long as the driver lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from modelyard.workflow.stop import StopRequest

if TYPE_CHECKING:
    from modelyard.records import StageRecord
    from modelyard.workflow.board import Board
    from modelyard.workflow.ray_session import RaySession
    from modelyard.workflow.references import ResolvedModel
    from modelyard.yard import Lease, RunFolder, Yard

Job = TypeVar("Job")


@dataclass(frozen=True)
class RunOptions:
    """`fresh`: forget what an earlier attempt made. `verify`: prove files by their bytes, not by size and mtime.

    On a cluster `namespace` stands before the run's id, and a driver waits up to `patience_seconds` for one before it:
    whether a process on another machine lives is known by its silence alone.
    """

    fresh: bool = False
    verify: bool = False
    namespace: str = ""
    patience_seconds: float = 0.0


@dataclass
class Attempt(Generic[Job]):
    """`records` holds the stages finished so far; `stage` is the one at work.

    `resolved` is what references named, `missing` why others named nothing: an alias that appears changes nothing.
    """

    job: Job
    root: Path
    yard: Yard
    folder: RunFolder
    lease: Lease
    board: Board
    ray: RaySession
    stop: StopRequest
    options: RunOptions
    stage: str = "prepare"
    records: dict[str, StageRecord] = field(default_factory=dict)
    resolved: dict[str, ResolvedModel] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
