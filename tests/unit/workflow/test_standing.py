"""A status never outlives its truth."""

from __future__ import annotations

import pytest

from modelyard.records import Progress, StatusDocument
from modelyard.workflow.standing import as_seen
from modelyard.yard import Holder

GONE = "2026-11-22T12:05:00Z"


def holder(state: str) -> Holder:
    return Holder(1, "here", 42, "2026-11-22T12:00:00Z", GONE, state)  # type: ignore[arg-type]


def document(phase: str) -> StatusDocument:
    return StatusDocument.model_validate(
        {"kind": "TrainingJob", "name": "q", "phase": phase, "progress": Progress(stage="train", step=30)}
    )


@pytest.mark.parametrize("state", ["dead", "silent", "released"])
def test_work_without_a_driver_is_an_interruption(state: str) -> None:
    seen = as_seen(document("Training"), holder(state))
    assert seen.phase == "Suspended"
    assert seen.last_failure is not None
    assert seen.last_failure.failure_class == "Interrupted"
    assert seen.last_failure.message == "Interrupted, driver gone since 2026-11-22T12:05:00Z"
    assert seen.last_failure.where.step == 30
    told = {condition.type: condition for condition in seen.conditions}
    assert (told["Progressing"].status, told["Suspended"].status) == ("False", "True")
    assert {(one.reason, one.last_transition_time) for one in told.values()} == {("Interrupted", GONE)}


def test_a_run_that_nobody_holds_was_interrupted_at_an_unknown_time() -> None:
    seen = as_seen(document("Training"), None)
    assert seen.phase == "Suspended"
    assert {one.last_transition_time for one in seen.conditions} == {""}


@pytest.mark.parametrize(("phase", "state"), [("Training", "living"), ("Succeeded", "dead"), ("Failed", "released")])
def test_the_document_is_believed_otherwise(phase: str, state: str) -> None:
    assert as_seen(document(phase), holder(state)) == document(phase)
