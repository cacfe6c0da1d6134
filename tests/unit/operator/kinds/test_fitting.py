"""A status made to fit: what the schema takes stays as it is, everything else goes, nothing raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records import StatusDocument
from modelyard_operator.kinds.fitting import fitted
from support.statuses import FULL, full_status

KINDS = sorted(FULL)
NAMES = [*StatusDocument.model_json_schema()["properties"], "class", "message", "evidence", "type", "loss"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(NAMES), below, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_status_stays_as_it_is(kind: str) -> None:
    assert fitted(kind, full_status(kind)) == full_status(kind)


@pytest.mark.parametrize(
    ("name", "written", "kept"),
    [
        ("a field of a newer driver", {"attempts": 1, "colour": "red"}, {"attempts": 1}),
        ("a field of another type", {"attempts": "one", "runId": "a"}, {"runId": "a"}),
        ("true is no number", {"attempts": True}, {}),
        ("null", {"runId": None}, {}),
        ("a phase of another kind", {"phase": "Deploying"}, {}),
        ("a failure of a newer class", {"lastFailure": {"class": "Boredom", "message": "no"}}, {"message": "no"}),
        ("a loss that is no number", {"metrics": {"loss": float("nan")}}, {"metrics": {}}),
        ("a number beyond int64", {"attempts": 2**63}, {}),
        ("a time without a zone", {"startTime": "2026-11-22T10:00:00"}, {}),
        ("half a surrogate pair", {"runId": "a\udc80"}, {"runId": "a?"}),
        ("a text too long", {"runId": "a" * 5000}, {"runId": "a" * 1024}),
        ("a list too long", {"lastFailure": {"evidence": ["x"] * 2000}}, {"evidence": ["x"] * 20}),
        ("a condition without a reason", {"conditions": [{"type": "Failed", "status": "True"}]}, {"conditions": []}),
    ],
)
def test_what_does_not_fit_goes(name: str, written: Any, kept: Any) -> None:
    if "lastFailure" in written:
        kept = {"lastFailure": kept}
    assert fitted("TrainingJob", written) == kept, name


def test_of_two_conditions_of_a_type_the_first_stays() -> None:
    first, other, second = (
        {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"}
        for kind, reason in (("Failed", "Hang"), ("Accepted", "ManifestAccepted"), ("Failed", "Storage"))
    )
    assert fitted("TrainingJob", {"conditions": [first, other, second]}) == {"conditions": [first, other]}


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5))
def test_anything_fits_once_it_was_fitted(kind: str, written: dict[str, Any]) -> None:
    once = fitted(kind, written)
    assert fitted(kind, once) == once
