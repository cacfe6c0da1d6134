"""When the status goes to its ConfigMap, and that it always fits and stays a status."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records import (
    Condition,
    FailureDigest,
    Metrics,
    MetricValue,
    ModelState,
    Progress,
    StatusDocument,
)
from modelyard.workflow.posting import MAX_BYTES, PostState, Step, fitted, is_transition, next_step

NEW = PostState()
DONE = PostState(written=100.0, seen=100.0)


@pytest.mark.parametrize(
    ("state", "now", "step"),
    [
        pytest.param(NEW, 0.0, Step("look"), id="at the start it looks: the wish to stop may stand already"),
        pytest.param(NEW.offered(urgent=True), 0.0, Step("write"), id="the first document goes at once"),
        pytest.param(DONE, 104.0, Step("wait", 6.0), id="nothing new, looked lately"),
        pytest.param(DONE, 110.0, Step("look"), id="nothing new for ten seconds"),
        pytest.param(DONE.offered(urgent=False), 104.0, Step("wait", 6.0), id="progress waits"),
        pytest.param(DONE.offered(urgent=False), 110.0, Step("write"), id="progress after ten seconds"),
        pytest.param(DONE.offered(urgent=True), 100.1, Step("write"), id="a transition does not wait"),
        pytest.param(
            DONE.offered(urgent=True).offered(urgent=False), 100.1, Step("write"), id="progress hides no transition"
        ),
        pytest.param(
            PostState(written=100.0, seen=106.0).offered(urgent=False), 107.0, Step("wait", 3.0),
            id="a look does not put the write off",
        ),
        pytest.param(
            DONE.offered(urgent=True).failed(100.0, retry_after=0.0, chance=0.5, closing=False), 100.5,
            Step("wait", 0.5), id="after a failure even a transition waits",
        ),
    ],
)  # fmt: skip
def test_what_is_done_next(state: PostState, now: float, step: Step) -> None:
    assert next_step(state, now) == step


def test_failures_space_the_tries_and_an_answer_ends_that() -> None:
    state, pauses = DONE.offered(urgent=True), []
    for _ in range(8):
        state = state.failed(1000.0, retry_after=0.0, chance=0.5, closing=False)
        pauses.append(state.not_before - 1000.0)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    again = state.taken().answered(1031.0, wrote=True)
    assert (again.failures, next_step(again, 1031.0)) == (0, Step("wait", 10.0))


@pytest.mark.parametrize(
    ("retry_after", "closing", "pause"), [(5.0, False, 5.0), (600.0, False, 30.0), (600.0, True, 2.0), (0.0, True, 1.0)]
)
def test_the_servers_wish_is_heard_within_bounds(retry_after: float, closing: bool, pause: float) -> None:
    assert NEW.failed(0.0, retry_after=retry_after, chance=0.5, closing=closing).not_before == pause


@given(
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["progress", "transition", "nothing"])), max_size=60),
)
def test_writes_are_ten_seconds_apart_or_transitions(events: list[tuple[float, str]]) -> None:
    """Whatever comes in, and when: the writes that no transition asked for keep their distance."""
    state, now, written = NEW, 0.0, float("-inf")
    for pause, event in events:
        now += pause
        if event != "nothing":
            state = state.offered(urgent=event == "transition")
        step = next_step(state, now)
        if step.act == "write":
            assert state.urgent or now - written >= 10.0
            state, written = state.taken().answered(now, wrote=True), now
        elif step.act == "look":
            state = state.answered(now, wrote=False)
        else:
            assert 0 < step.seconds <= 10.0 + 1e-9
        if event == "transition":
            assert not state.pending


DOCUMENT = StatusDocument(
    kind="TrainingJob", name="q", run_id="ns.q-01234567", phase="Training", attempts=1,
    conditions=(Condition(type="Progressing", status="True", reason="Training", last_transition_time="t"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "transition"),
    [
        ({"phase": "Evaluating"}, True),
        ({"conditions": ()}, True),
        ({"last_failure": FailureDigest(failure_class="Storage", message="full")}, True),
        ({"model": ModelState(name="q", version=1, digest="d")}, True),
        ({"verdict": "Passed"}, True),
        ({"attempts": 2}, True),
        ({"progress": Progress(stage="train", step=3)}, False),
        ({"metrics": Metrics(loss=2.0)}, False),
        ({"conditions": (DOCUMENT.conditions[0].model_copy(update={"message": "other words"}),)}, False),
    ],
)
def test_a_transition_is_more_than_progress(change: dict[str, Any], transition: bool) -> None:
    assert is_transition(DOCUMENT, DOCUMENT.model_copy(update=change)) is transition
    assert is_transition(None, DOCUMENT)


def read(text: str) -> StatusDocument:
    return StatusDocument.from_json(text, origin="test")


def test_what_fits_is_left_as_it_is() -> None:
    assert read(fitted(DOCUMENT)) == DOCUMENT


def test_the_last_lines_of_evidence_stay_longest() -> None:
    evidence = tuple(f"{number} " + "x" * 1000 for number in range(20))
    failed = DOCUMENT.model_copy(
        update={"last_failure": FailureDigest(failure_class="Internal", message="m", evidence=evidence)}
    )
    kept = read(fitted(failed, 8000)).last_failure
    assert kept is not None
    assert [line.split()[0] for line in kept.evidence] == ["15", "16", "17", "18", "19"]


def test_a_name_that_is_no_text_does_not_keep_the_status_back() -> None:
    failed = DOCUMENT.model_copy(
        update={"last_failure": FailureDigest(failure_class="BadData", message="cannot read caf\udce9.txt")}
    )
    kept = read(fitted(failed)).last_failure
    assert kept is not None
    assert kept.message == "cannot read caf?.txt"


def test_numbers_that_json_does_not_have_are_left_out() -> None:
    found = (MetricValue(suite="s", metric="perplexity", value=math.inf), MetricValue(suite="s", metric="m", value=1.0))
    metrics = Metrics(loss=math.nan, evaluation=found)
    text = fitted(DOCUMENT.model_copy(update={"metrics": metrics}))
    json.loads(text, parse_constant=pytest.fail)
    assert read(text).metrics == Metrics(evaluation=found[1:])


words = st.text(max_size=40) | st.text(max_size=40).map(lambda text: text * 2000)
conditions = words.map(
    lambda text: Condition(type="Progressing", status="True", reason="Training", message=text, last_transition_time="t")
)
failures = st.tuples(words, words, st.lists(words, max_size=20)).map(
    lambda some: FailureDigest(failure_class="Internal", message=some[0], hint=some[1], evidence=tuple(some[2]))
)
measured = st.builds(MetricValue, suite=st.just("s" * 60), metric=st.just("m" * 60), value=st.floats())


@st.composite
def documents(draw: st.DrawFn) -> StatusDocument:
    return StatusDocument(
        kind="TrainingJob", name="q", run_id="r", phase=draw(st.sampled_from(["Training", "Failed"])),
        conditions=tuple(draw(st.lists(conditions, max_size=8))),
        metrics=Metrics(evaluation=tuple(draw(st.lists(measured, max_size=5))) * 80),
        progress=Progress(stage="train", step=7), last_failure=draw(st.none() | failures),
    )  # fmt: skip


@given(documents())
def test_every_document_fits_and_stays_what_it_says(document: StatusDocument) -> None:
    text = fitted(document, MAX_BYTES)
    assert len(text.encode()) <= MAX_BYTES
    kept = read(text)
    assert (kept.phase, kept.progress, kept.run_id) == (document.phase, document.progress, document.run_id)
    assert [(c.type, c.status, c.reason) for c in kept.conditions] == [
        (c.type, c.status, c.reason) for c in document.conditions
    ]
    assert (kept.last_failure is None) == (document.last_failure is None)
