"""The status document in the making: one place that changes it, writes it and tells who watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from modelyard.records import (
    Condition,
    FailureDigest,
    Metrics,
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
    """Holds the document of one run. Every method writes it to all sinks; progress at most once a second."""

    def __init__(
        self, document: StatusDocument, *, sinks: Sequence[Sink], listener: Listener, clock: Clock = utc_now
    ) -> None:
        self.document = document
        self._sinks = tuple(sinks)
        self._listener = listener
        self._clock = clock
        self._written: datetime | None = None

    def tell(self, news: News) -> None:
        """Pass news on to the watcher."""
        self._listener(news)

    def now(self) -> str:
        """This moment, as records write it."""
        return rfc3339(self._clock())

    def enter(self, phase: Phase, reason: Reason, message: str = "") -> None:
        """A new phase, with work going on."""
        self.update(phase=phase, conditions=self._set("Progressing", "True", reason, message))

    def update(self, **changes: Any) -> None:
        """Change fields of the document and write it."""
        self.document = self.document.model_copy(update=changes)
        self._write()

    def progress(self, news: Progressed) -> None:
        """Take a step's progress into the document; the watcher sees each, the sinks one a second."""
        metrics = self.document.metrics
        if news.loss is not None:
            metrics = metrics.model_copy(update={"loss": news.loss})
        if news.validation_loss is not None:
            metrics = metrics.model_copy(update={"validation_loss": news.validation_loss})
        self.document = self.document.model_copy(update={"progress": news.progress, "metrics": metrics})
        self.tell(news)
        now = self._clock()
        if self._written is None or (now - self._written).total_seconds() >= _PROGRESS_WRITE_SECONDS:
            self._write()

    def evaluated(self, values: Sequence[MetricValue]) -> None:
        """What the evaluate stage measured."""
        metrics = Metrics(
            loss=self.document.metrics.loss,
            validation_loss=self.document.metrics.validation_loss,
            evaluation=tuple(values),
        )
        self.update(metrics=metrics)

    def complete(self, reason: Reason = Reason.COMPLETED, message: str = "", phase: Phase = "Succeeded") -> None:
        """The end that was hoped for."""
        self._end("Complete", reason, message, phase=phase, last_failure=None, completion_time=self.now())

    def failed(self, failure: FailureDigest) -> None:
        """The end that was not."""
        end = self.now()
        self._end(
            "Failed",
            failure.failure_class,
            failure.message,
            phase="Failed",
            last_failure=failure,
            completion_time=end,
        )

    def suspended(self, failure: FailureDigest) -> None:
        """Stopped on purpose: nothing is lost, and the run has not ended."""
        self._end("Suspended", Reason.INTERRUPTED, failure.message, phase="Suspended", last_failure=failure)

    def _end(self, kind: str, reason: str, message: str, **changes: Any) -> None:
        conditions = self._set("Progressing", "False", reason, message)
        self.document = self.document.model_copy(update={"conditions": conditions})
        self.update(conditions=self._set(kind, "True", reason, message), **changes)

    def condition(self, kind: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set one condition."""
        self.update(conditions=self._set(kind, status, reason, message))

    def _set(self, kind: str, status: ConditionStatus, reason: str, message: str) -> tuple[Condition, ...]:
        wanted = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=self.now())
        return with_condition(self.document.conditions, wanted)

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
    """Progress at a stage's start: the step reached so far is kept."""
    return Progress(stage=stage, step=progress.step if progress else 0)
