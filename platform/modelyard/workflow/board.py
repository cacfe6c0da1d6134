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
_PROGRESS_WRITE_SECONDS = 1.0  # chosen by feel: fresh enough to watch, far below what an fsync costs


def utc_now() -> datetime:
    """The clock used unless a test brings its own."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T17:25:09Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_condition(
    conditions: Sequence[Condition],
    kind: str,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: str,
) -> tuple[Condition, ...]:
    """The conditions with one of them set; its transition time moves only when its status does."""
    before = next((c for c in conditions if c.type == kind), None)
    since = before.last_transition_time if before and before.status == status else now
    condition = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=since)
    if before is None:
        return (*conditions, condition)
    return tuple(condition if c.type == kind else c for c in conditions)


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
        self._end("Complete", reason, message, phase=phase, last_failure=None)

    def failed(self, failure: FailureDigest) -> None:
        """The end that was not."""
        self._end("Failed", failure.failure_class, failure.message, phase="Failed", last_failure=failure)

    def suspended(self, failure: FailureDigest) -> None:
        """Stopped on purpose: nothing is lost, and the run has not ended."""
        conditions = self._set("Progressing", "False", Reason.INTERRUPTED, failure.message)
        self.document = self.document.model_copy(update={"conditions": conditions})
        conditions = self._set("Suspended", "True", Reason.INTERRUPTED, failure.message)
        self.update(phase="Suspended", conditions=conditions, last_failure=failure)

    def _end(self, kind: Literal["Complete", "Failed"], reason: str, message: str, **changes: Any) -> None:
        conditions = self._set("Progressing", "False", reason, message)
        self.document = self.document.model_copy(update={"conditions": conditions})
        self.update(conditions=self._set(kind, "True", reason, message), completion_time=self.now(), **changes)

    def _set(
        self, kind: str, status: Literal["True", "False", "Unknown"], reason: str, message: str
    ) -> tuple[Condition, ...]:
        return with_condition(self.document.conditions, kind, status, reason, message, self.now())

    def _write(self) -> None:
        self._written = self._clock()
        for sink in self._sinks:
            sink(self.document)


def opening(
    kind: str, name: str, run_id: str, attempts: int, before: StatusDocument | None, now: str
) -> StatusDocument:
    """The document with which an attempt begins: what an earlier attempt learnt stays, its end does not."""
    accepted = with_condition((), "Accepted", "True", Reason.MANIFEST_ACCEPTED, "", now)
    if before is None:
        return StatusDocument(
            kind=kind, name=name, run_id=run_id, attempts=attempts, start_time=now, conditions=accepted
        )
    conditions = before.conditions
    for condition in before.conditions:
        if condition.type == "Suspended" and condition.status == "True":
            conditions = with_condition(conditions, "Suspended", "False", Reason.RESUMED, "", now)
    conditions = tuple(c for c in conditions if c.type not in ("Complete", "Failed"))
    return before.model_copy(
        update={"conditions": conditions, "attempts": attempts, "phase": "Pending", "completion_time": None}
    )


def idle(stage: str, progress: Progress | None) -> Progress:
    """Progress at a stage's start: the step reached so far is kept."""
    return Progress(stage=stage, step=progress.step if progress else 0)
