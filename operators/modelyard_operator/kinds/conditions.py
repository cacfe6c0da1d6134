"""Kubernetes conditions as plain JSON: set, read, waited for. Pure; the moment comes in as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from modelyard_operator.kinds.objects import Json

ConditionStatus = Literal["True", "False", "Unknown"]

ACCEPTED = "Accepted"
AVAILABLE = "Available"
COMPLETE = "Complete"
FAILED = "Failed"
PASSED = "Passed"
PROGRESSING = "Progressing"
SUSPENDED = "Suspended"

LONGEST_MESSAGE = 32_768  # Kubernetes' own bound (metav1.Condition), in characters


def with_condition(
    conditions: Iterable[Json],
    kind: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    now: str,
    generation: int,
) -> tuple[Json, ...]:
    """The conditions with one of them set, in its place; `now` is RFC 3339, the time of a transition.

    The time moves only when the status does. The same again gives an equal result, so nothing need be written.
    """
    standing = tuple(conditions)
    before = next((condition for condition in standing if condition["type"] == kind), None)
    since = now if before is None or before["status"] != status else before["lastTransitionTime"]
    wanted: dict[str, Any] = {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message[:LONGEST_MESSAGE],
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }
    if before is None:
        return (*standing, wanted)
    return tuple(wanted if condition["type"] == kind else condition for condition in standing)


def condition_of(item: Json, kind: str) -> Json | None:
    """A condition of an object's status; None when it has none of that type."""
    conditions: Sequence[Json] = (item.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def is_true(item: Json, kind: str, *, current: bool = False) -> bool:
    """Whether a condition is True; `current`: and was so judged of the spec as it now is."""
    condition = condition_of(item, kind)
    if condition is None or condition.get("status") != "True":
        return False
    return not current or condition.get("observedGeneration") == item["metadata"].get("generation")


def is_over(item: Json) -> bool:
    """Whether a job has ended for good: Complete or Failed."""
    return is_true(item, COMPLETE) or is_true(item, FAILED)
