"""Events: the transitions between two statuses, told so that `kubectl describe` reads as a story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from modelyard_operator.kinds.actions import Emit
from modelyard_operator.plan.reading import clipped, dig, listed, mapping, text

_LONGEST = 1000  # bytes; the API takes 1024
_ENDS = ("Complete", "Failed", "Suspended", "Passed")


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Emit]:
    """What to tell of the step from one status to the next; nothing when nothing turned."""
    yield from _accepted(before, after)
    failure = mapping(after, "lastFailure")
    if failure and _cause(failure) != _cause(mapping(before, "lastFailure")):
        words = " ".join(part for part in (text(failure, "message"), _hint(failure)) if part)
        yield _emit("Warning", text(failure, "class"), words)
    if dig(after, "attempts") != dig(before, "attempts") and dig(after, "attempts"):
        yield _emit("Normal", "AttemptStarted", f"attempt {dig(after, 'attempts')} starts")
    else:  # that an attempt which starts is starting need not be told twice
        yield from _progressing(before, after)
    yield from _ends(before, after)


def _accepted(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Emit]:
    was, now = _condition(before, "Accepted"), _condition(after, "Accepted")
    if now and (_turn(was) != _turn(now) or text(was, "message") != text(now, "message")):
        good = text(now, "status") == "True"
        words = text(now, "message") or "the manifest resolves"
        yield _emit("Normal" if good else "Warning", text(now, "reason"), words)


def _progressing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Emit]:
    was, now = _condition(before, "Progressing"), _condition(after, "Progressing")
    said = text(now, "reason") in ("Suspended", text(_condition(after, "Accepted"), "reason"))
    known = said or any(_turned(before, after, kind) for kind in _ENDS)
    if now and not known and _turn(was) != _turn(now):
        yield _emit("Normal", text(now, "reason"), text(now, "message") or text(now, "reason"))


def _ends(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Emit]:
    for kind in _ENDS:
        now = _condition(after, kind)
        if _turned(before, after, kind) and (text(now, "status") == "True" or kind == "Passed"):
            bad = kind == "Failed" or (kind == "Passed" and text(now, "status") != "True")
            words = text(now, "message") or f"{kind} is {text(now, 'status')}"
            yield _emit("Warning" if bad else "Normal", text(now, "reason"), words)


def _turned(before: Mapping[str, Any], after: Mapping[str, Any], kind: str) -> bool:
    return text(_condition(before, kind), "status") != text(_condition(after, kind), "status")


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in listed(status, "conditions") if text(one, "type") == kind), {})


def _turn(condition: Mapping[str, Any]) -> tuple[str, str]:
    return text(condition, "status"), text(condition, "reason")


def _cause(failure: Mapping[str, Any]) -> tuple[str, str]:
    return text(failure, "class"), text(failure, "message")


def _hint(failure: Mapping[str, Any]) -> str:
    return f"({text(failure, 'hint')})" if text(failure, "hint") else ""


def _emit(kind: Literal["Normal", "Warning"], reason: str, message: str) -> Emit:
    return Emit(kind, reason, clipped(message, _LONGEST))
