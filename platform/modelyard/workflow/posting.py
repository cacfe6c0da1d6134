"""When the status document goes to its ConfigMap, and what of it: decisions without clock, thread or network.

A transition (phase, a condition, the verdict, the version, a failure) goes at once, progress at most once in ten
seconds. With nothing to write the ConfigMap is looked at that often: the operator's wish to stop stands there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from modelyard.records import Condition, StatusDocument

MAX_BYTES = 64 * 1024  # design of the status ConfigMap; the API server itself would take a megabyte
WRITE_SECONDS = 10.0  # likewise: at most one write in that time, transitions aside
LOOK_SECONDS = 10.0  # a wish to stop is seen that soon; the operator waits for 120 s. By feel
_LONGEST_BACK_OFF = 30.0  # seconds between attempts while the API server is away. By feel
_LONGEST_WHEN_CLOSING = 2.0  # the process waits for the last document: no long pauses then
_SHORT_MESSAGE = 1024  # bytes of a message when the document is too long


class Step(NamedTuple):
    """What to do next; `seconds` says for how long to wait, unless a document comes in."""

    act: Literal["write", "look", "wait"]
    seconds: float = 0.0


@dataclass(frozen=True)
class PostState:
    """What the poster knows. Times are seconds of one monotonic clock; `failures` are those in a row.

    `pending`: a document is newer than what was written. `urgent`: and it tells a transition, or is the last one.
    """

    pending: bool = False
    urgent: bool = False
    written: float = float("-inf")
    seen: float = float("-inf")
    failures: int = 0
    not_before: float = float("-inf")

    def offered(self, *, urgent: bool) -> PostState:
        """A document came in, or one that was on its way came back."""
        return replace(self, pending=True, urgent=self.urgent or urgent)

    def taken(self) -> PostState:
        """The newest document is on its way."""
        return replace(self, pending=False, urgent=False)

    def answered(self, now: float, *, wrote: bool) -> PostState:
        """The server answered a write or a look."""
        kept = replace(self, seen=now, failures=0, not_before=float("-inf"))
        return replace(kept, written=now) if wrote else kept

    def failed(self, now: float, *, retry_after: float, chance: float, closing: bool) -> PostState:
        """A try failed: the next one comes later each time; `chance` in [0, 1) spreads many drivers."""
        longest = _LONGEST_WHEN_CLOSING if closing else _LONGEST_BACK_OFF
        pause = max(min(2.0**self.failures, longest) * (0.75 + 0.5 * chance), min(retry_after, longest))
        return replace(self, failures=self.failures + 1, not_before=now + pause)


def next_step(state: PostState, now: float) -> Step:
    """Write, look, or wait."""
    if now < state.not_before:
        return Step("wait", state.not_before - now)
    if state.pending and (state.urgent or now >= state.written + WRITE_SECONDS):
        return Step("write")
    if now >= state.seen + LOOK_SECONDS:
        return Step("look")
    next_look = state.seen + LOOK_SECONDS
    return Step("wait", (min(next_look, state.written + WRITE_SECONDS) if state.pending else next_look) - now)


def is_transition(before: StatusDocument | None, after: StatusDocument) -> bool:
    """Whether the difference is more than progress."""
    return before is None or _standing(before) != _standing(after)


def _standing(document: StatusDocument) -> tuple[object, ...]:
    conditions = tuple((one.type, one.status, one.reason) for one in document.conditions)
    return document.phase, conditions, document.verdict, document.model, document.last_failure, document.attempts


def fitted(document: StatusDocument, limit: int = MAX_BYTES) -> str:
    """The document as JSON of at most `limit` bytes (UTF-8), trimmed where it is too long; always a StatusDocument.

    Evidence goes first (its last lines stay longest), then long messages, then measurements. Phase, the conditions'
    words, progress, checkpoint and model stay.
    """
    text = ""
    for shorter in _trimmings(_finite(document)):
        text = _written(shorter)
        if len(text.encode()) <= limit:
            break
    return text


def _trimmings(document: StatusDocument) -> Iterator[StatusDocument]:
    yield document
    failure = document.last_failure
    if failure is not None:
        for kept in (10, 5, 1, 0):
            evidence = failure.evidence[-kept:] if kept else ()
            failure = failure.model_copy(update={"evidence": evidence})
            yield document.model_copy(update={"last_failure": failure})
        failure = failure.model_copy(update={"message": _cut(failure.message), "hint": _cut(failure.hint)})
    for limit in (_SHORT_MESSAGE, 128):
        conditions = tuple(_short(one, limit) for one in document.conditions)
        document = document.model_copy(update={"last_failure": failure, "conditions": conditions})
        yield document
    for kept in (64, 16, 0):
        metrics = document.metrics.model_copy(update={"evaluation": document.metrics.evaluation[:kept]})
        yield document.model_copy(update={"metrics": metrics})


def _finite(document: StatusDocument) -> StatusDocument:
    """Without numbers that JSON does not have: neither the API server nor anybody's reader takes NaN or Infinity."""
    metrics, progress = document.metrics, document.progress
    measured = tuple(
        one.model_copy(update={"low": _number(one.low), "high": _number(one.high)})
        for one in metrics.evaluation
        if math.isfinite(one.value)
    )
    losses = {"loss": _number(metrics.loss), "validation_loss": _number(metrics.validation_loss)}
    if progress is not None:
        speed = {"tokens_per_second": _number(progress.tokens_per_second), "eta_seconds": _number(progress.eta_seconds)}
        progress = progress.model_copy(update=speed)
    metrics = metrics.model_copy(update={"evaluation": measured, **losses})
    return document.model_copy(update={"metrics": metrics, "progress": progress})


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _short(condition: Condition, limit: int) -> Condition:
    return condition.model_copy(update={"message": _cut(condition.message, limit)})


def _cut(text: str, limit: int = _SHORT_MESSAGE) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


def _written(document: StatusDocument) -> str:
    """Compact JSON; a character that is none (a file name that is no UTF-8) becomes a question mark."""
    values = {"schema": document.SCHEMA, **document.to_dict()}
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace").decode()
