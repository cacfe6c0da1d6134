"""The status document in the making: one place that changes it, writes it and tells who watches."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from modelyard.records import (
    Condition,
    FailureDigest,
    MetricValue,
    Phase,
    Progress,
    StatusDocument,
)
from modelyard.spec.reasons import Reason
from modelyard.workflow.news import Listener, News, Progressed
from modelyard.workflow.sinks import Sink

Clock = Callable[[], datetime]
ConditionStatus = Literal["True", "False", "Unknown"]
_PROGRESS_WRITE_SECONDS = 1.0  # chosen by feel: fresh enough to watch, far below what an fsync costs


def utc_now() -> datetime:
    """The clock used unless a test brings its own."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T17:25:09Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_condition(conditions: Sequence[Condition], wanted: Condition) -> tuple[Condition, ...]:
    """The conditions with one of them set; its transition time moves only when its status does."""
    before = next((c for c in conditions if c.type == wanted.type), None)
    if before is None:
        return (*conditions, wanted)
    if before.status == wanted.status:
        wanted = wanted.model_copy(update={"last_transition_time": before.last_transition_time})
    return tuple(wanted if c.type == wanted.type else c for c in conditions)


class Board:
    """Holds the document of one run. Every method writes it to all sinks; progress at most once a second.

    The stage at work and the thread that watches its workers both call: each change is made under one lock.
    """

    def __init__(
        self, document: StatusDocument, *, sinks: Sequence[Sink], listener: Listener, clock: Clock = utc_now
    ) -> None:
        self.document = document
        self._sinks = tuple(sinks)
        self._listener = listener
        self._clock = clock
        self._written: datetime | None = None
        self._lock = threading.RLock()

    def tell(self, news: News) -> None:
        """Pass news on to the watcher."""
        self._listener(news)

    def now(self) -> str:
        """This moment, as records write it."""
        return rfc3339(self._clock())

    def enter(self, phase: Phase, reason: Reason, message: str = "") -> None:
        """A new phase, with work going on."""
        self._amend(self._condition("Progressing", "True", reason, message), phase=phase)

    def update(self, **changes: Any) -> None:
        """Change fields of the document and write it."""
        self._amend(**changes)

    def condition(self, kind: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set one condition."""
        self._amend(self._condition(kind, status, reason, message))

    def progress(self, news: Progressed) -> None:
        """Take a step's progress into the document; the watcher sees each, the sinks one a second."""
        learnt = {"loss": news.loss, "validation_loss": news.validation_loss}
        with self._lock:
            metrics = self.document.metrics.model_copy(update={k: v for k, v in learnt.items() if v is not None})
            self.document = self.document.model_copy(update={"progress": news.progress, "metrics": metrics})
            now = self._clock()
            if self._written is None or (now - self._written).total_seconds() >= _PROGRESS_WRITE_SECONDS:
                self._write()
        self.tell(news)

    def evaluated(self, values: Sequence[MetricValue]) -> None:
        """What the evaluate stage measured."""
        with self._lock:
            self._amend(metrics=self.document.metrics.model_copy(update={"evaluation": tuple(values)}))

    def complete(self, reason: Reason = Reason.COMPLETED, message: str = "") -> None:
        """The end that was hoped for."""
        self._end("Complete", reason, message, phase="Succeeded", last_failure=None, completion_time=self.now())

    def failed(self, failure: FailureDigest) -> None:
        """The end that was not."""
        ended = {"phase": "Failed", "last_failure": failure, "completion_time": self.now()}
        self._end("Failed", failure.failure_class, failure.message, **ended)

    def suspended(self, failure: FailureDigest) -> None:
        """Stopped on purpose: nothing is lost, and the run has not ended."""
        self._end("Suspended", Reason.INTERRUPTED, failure.message, phase="Suspended", last_failure=failure)

    def _end(self, kind: str, reason: str, message: str, **changes: Any) -> None:
        stopped = self._condition("Progressing", "False", reason, message)
        self._amend(stopped, self._condition(kind, "True", reason, message), **changes)

    def _condition(self, kind: str, status: ConditionStatus, reason: str, message: str) -> Condition:
        return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=self.now())

    def _amend(self, *wanted: Condition, **changes: Any) -> None:
        with self._lock:
            conditions = functools.reduce(with_condition, wanted, self.document.conditions)
            self.document = self.document.model_copy(update={"conditions": conditions, **changes})
            self._write()

    def _write(self) -> None:
        self._written = self._clock()
        for sink in self._sinks:
            sink(self.document)


def opening(document: StatusDocument, *, attempts: int, before: StatusDocument | None, now: str) -> StatusDocument:
    """The document with which an attempt begins: what an earlier attempt learnt stays, its end does not."""
    if before is None:
        accepted = with_condition(
            (), Condition(type="Accepted", status="True", reason=Reason.MANIFEST_ACCEPTED, last_transition_time=now)
        )
        return document.model_copy(update={"attempts": attempts, "start_time": now, "conditions": accepted})
    conditions = before.conditions
    for condition in before.conditions:
        if condition.type == "Suspended" and condition.status == "True":
            goes_on = Condition(type="Suspended", status="False", reason=Reason.RESUMED, last_transition_time=now)
            conditions = with_condition(conditions, goes_on)
    conditions = tuple(c for c in conditions if c.type not in ("Complete", "Failed"))
    return before.model_copy(
        update={"conditions": conditions, "attempts": attempts, "phase": "Pending", "completion_time": None}
    )


def idle(stage: str, progress: Progress | None) -> Progress:
    """Progress at a stage's start: how far training has come is kept, its speed is not."""
    if progress is None:
        return Progress(stage=stage)
    return progress.model_copy(update={"stage": stage, "tokens_per_second": None, "eta_seconds": None})
