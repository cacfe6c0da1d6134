"""Conditions: the transition time moves with the status, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_operator.kinds.conditions import (
    LONGEST_MESSAGE,
    condition_of,
    is_over,
    is_true,
    with_condition,
)

EARLY, LATE = "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"


def condition(kind: str, status: str = "True", since: str = EARLY, generation: int = 1) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": "Training",
        "message": "",
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }


STANDING = (condition("Accepted"), condition("Progressing"))


@pytest.mark.parametrize(
    ("name", "status", "reason", "generation", "since"),
    [
        ("the same again", "True", "Training", 1, EARLY),
        ("another reason", "True", "Evaluating", 1, EARLY),
        ("another generation", "True", "Training", 2, EARLY),
        ("another status", "False", "Training", 1, LATE),
        ("not known any more", "Unknown", "Training", 1, LATE),
    ],
)
def test_the_time_moves_with_the_status(name: str, status: Any, reason: str, generation: int, since: str) -> None:
    first, second = with_condition(STANDING, "Progressing", status, reason, "", now=LATE, generation=generation)
    assert first is STANDING[0]
    wanted = {**condition("Progressing", status, since, generation), "reason": reason}
    assert second == wanted, name


def test_a_new_one_comes_last() -> None:
    made = with_condition(STANDING, "Complete", "True", "Completed", "done", now=LATE, generation=3)
    assert made[:2] == STANDING
    assert made[2]["lastTransitionTime"] == LATE
    assert made[2]["observedGeneration"] == 3


def test_a_message_is_cut_to_what_the_server_takes() -> None:
    made = with_condition((), "Failed", "True", "Internal", "x" * 2 * LONGEST_MESSAGE, now=LATE, generation=1)
    assert len(made[0]["message"]) == LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("name", "status", "current", "expected"),
    [
        ("no status", None, False, False),
        ("no conditions", {}, False, False),
        ("true", {"conditions": [condition("Accepted", generation=1)]}, False, True),
        ("true of an older spec", {"conditions": [condition("Accepted", generation=1)]}, True, False),
        ("true of this spec", {"conditions": [condition("Accepted", generation=2)]}, True, True),
        ("false", {"conditions": [condition("Accepted", "False", generation=2)]}, True, False),
    ],
)
def test_whether_one_is_true(name: str, status: Any, current: bool, expected: bool) -> None:
    item = {"metadata": {"generation": 2}, **({} if status is None else {"status": status})}
    assert is_true(item, "Accepted", current=current) is expected, name


def test_over_is_complete_or_failed() -> None:
    def job(*conditions: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {}, "status": {"conditions": list(conditions)}}

    assert is_over(job(condition("Complete")))
    assert is_over(job(condition("Failed")))
    assert not is_over(job(condition("Failed", "False"), condition("Suspended")))
    assert condition_of(job(), "Failed") is None


STATUSES = st.sampled_from(["True", "False", "Unknown"])


@given(st.lists(st.tuples(st.sampled_from(["Accepted", "Progressing", "Failed"]), STATUSES), max_size=12))
def test_any_order_leaves_one_of_a_type_with_the_last_status(steps: list[tuple[str, Any]]) -> None:
    conditions: tuple[Any, ...] = ()
    for number, (kind, status) in enumerate(steps):
        now = f"2026-11-22T10:00:{number:02}Z"
        again = with_condition(conditions, kind, status, "Training", "", now=now, generation=1)
        assert with_condition(again, kind, status, "Training", "", now=LATE, generation=1) == again
        conditions = again
    assert [c["type"] for c in conditions] == list(dict.fromkeys(kind for kind, _ in steps))
    assert {c["type"]: c["status"] for c in conditions} == dict(steps)
