"""A stage: what it needs (a digest), what it makes (a record). One runner skips, works and records for all of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from modelyard import yard
from modelyard.records import Phase, StageOutput, StageRecord
from modelyard.spec.reasons import Reason
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.board import idle
from modelyard.workflow.environment import code_version, environment
from modelyard.workflow.news import StageBegan, StageDone, StageSkipped

Job = TypeVar("Job")


@dataclass(frozen=True)
class Made:
    """What a stage leaves: outputs with digests, numbers for the record, one line for people."""

    outputs: tuple[StageOutput, ...]
    summary: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage(Generic[Job]):
    """`inputs` is everything that determines the output, as plain values; `stands` looks whether outputs are there."""

    name: str
    phase: Phase
    reason: Reason
    inputs: Callable[[Attempt[Job]], dict[str, Any]]
    work: Callable[[Attempt[Job]], Made]
    stands: Callable[[Attempt[Job], StageRecord], bool]


def run_stage(attempt: Attempt[Job], stage: Stage[Job]) -> StageRecord:
    """Skip the stage when its record stands for the same inputs, else do its work and record it.

    Raises StoppedError when asked to stop before it began, FencedError when a later attempt took over.
    """
    attempt.stop.check()
    attempt.lease.check()
    attempt.stage = stage.name
    wanted = inputs_digest(stage.inputs(attempt))
    record = yard.read_stage(attempt.folder, stage.name)
    if record and record.input_digest == wanted and stage.stands(attempt, record):
        attempt.board.tell(StageSkipped(stage.name, str(record.details.get("summary", ""))))
        return record
    attempt.board.update(progress=idle(stage.name, attempt.board.document.progress))
    attempt.board.enter(stage.phase, stage.reason)
    attempt.board.tell(StageBegan(stage.name))
    started, clock = attempt.board.now(), time.monotonic()
    made = stage.work(attempt)
    record = StageRecord(
        stage=stage.name,
        input_digest=wanted,
        attempt=attempt.lease.attempt,
        code_version=code_version(),
        outputs=made.outputs,
        started=started,
        completed=attempt.board.now(),
        environment=environment(),
        details={"summary": made.summary, **made.details},
    )
    yard.publish_stage(attempt.folder, record)
    attempt.board.tell(StageDone(stage.name, time.monotonic() - clock, made.summary))
    return record


def inputs_digest(inputs: dict[str, Any]) -> str:
    """The digest of plain values, independent of their order."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def output(record: StageRecord, name: str) -> StageOutput:
    """One named output of a record."""
    return next(one for one in record.outputs if one.name == name)
