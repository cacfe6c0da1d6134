"""The rollout's decision: a table of situations, and what holds in all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.spec.reasons import Reason
from modelyard_operator.plan.deployments.rollouts import (
    Gate,
    RolloutDecision,
    Side,
    Situation,
    Standing,
    Step,
    Target,
    decide,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ONE, TWO, THREE = (Target(f"sha256:{number}", f"small@{number}") for number in (1, 2, 3))


def standing(target: Target = ONE, age: float = 5, **fields: Any) -> Standing:
    """On its way for so many seconds, in its first cluster."""
    return Standing(target, NOW - timedelta(seconds=age), **{"pending": Side(target.digest), **fields})


def serving(target: Target = ONE, age: float = 5, **fields: Any) -> Standing:
    """Up."""
    usual = {"pending": None, "active": Side(target.digest), "answers": True, "answered_version": target.version}
    return standing(target, age, **{**usual, **fields})


def beside(target: Target = TWO, old: Target = ONE, age: float = 5, **fields: Any) -> Standing:
    """On its way while the old one serves."""
    return replace(serving(old, age), target=target, **{"pending": Side(target.digest), **fields})


def situation(target: Target | None, now: Standing | None, good: Target | None = None, **fields: Any) -> Situation:
    return Situation(target, now, good, **{"deadline_seconds": 60, **fields})


TABLE: dict[str, tuple[Situation, Step, bool, Reason]] = {
    "nothing yet": (situation(ONE, None), Step.deploy, True, Reason.ROLLING_OUT),
    "nothing yet, asleep": (situation(ONE, None, asleep=True), Step.deploy, False, Reason.SCALED_TO_ZERO),
    "gate to be made": (situation(ONE, None, gate=Gate.missing), Step.evaluate, True, Reason.EVALUATING),
    "gate undecided": (situation(ONE, None, gate=Gate.running), Step.hold, True, Reason.EVALUATING),
    "gate said no": (situation(ONE, None, gate=Gate.refused), Step.hold, False, Reason.GATE_FAILED),
    "coming up": (situation(ONE, standing()), Step.hold, True, Reason.ROLLING_OUT),
    "late, nothing before": (situation(ONE, standing(age=61)), Step.hold, False, Reason.ROLLOUT_FAILED),
    "late, but up": (situation(ONE, serving(age=61)), Step.hold, False, Reason.ROLLED_OUT),
    "up": (situation(ONE, serving(), ONE), Step.hold, False, Reason.ROLLED_OUT),
    "was up, does not answer": (
        situation(ONE, serving(age=900, answers=False), ONE), Step.hold, False, Reason.ROLLED_OUT),
    "was up, cluster is made anew": (
        situation(ONE, standing(age=900), ONE), Step.hold, True, Reason.ROLLING_OUT),
    "the old one still answers": (situation(TWO, beside(), ONE), Step.hold, True, Reason.ROLLING_OUT),
    "arrived, the old version answers": (
        situation(TWO, serving(TWO, answered_version="small@1"), ONE), Step.hold, True, Reason.ROLLING_OUT),
    "patched, KubeRay has not seen it": (
        situation(TWO, beside(pending=None), ONE), Step.hold, True, Reason.ROLLING_OUT),
    "late": (situation(TWO, beside(age=61), ONE), Step.roll_back, False, Reason.ROLLED_BACK),
    "Serve gave up": (
        situation(TWO, beside(pending=Side(TWO.digest, fault="no")), ONE), Step.roll_back, False, Reason.ROLLED_BACK),
    "Serve gave up on another wish's cluster": (
        situation(TWO, beside(pending=Side(THREE.digest, fault="no")), ONE), Step.hold, True, Reason.ROLLING_OUT),
    "KubeRay refuses it": (situation(TWO, beside(refused="no"), ONE), Step.roll_back, False, Reason.ROLLED_BACK),
    "rolled back": (situation(TWO, beside(ONE, failed=TWO.digest), ONE), Step.hold, False, Reason.ROLLED_BACK),
    "rolled back, another wish": (
        situation(THREE, serving(failed=TWO.digest), ONE), Step.deploy, True, Reason.ROLLING_OUT),
    "another wish while one is on its way": (situation(THREE, beside(), ONE), Step.deploy, True, Reason.ROLLING_OUT),
    "back to what serves, before KubeRay acted": (
        situation(ONE, beside(pending=None), ONE), Step.deploy, False, Reason.ROLLED_OUT),
    "no wish, on its way": (situation(None, beside(), ONE), Step.hold, True, Reason.ROLLING_OUT),
    "no wish, late": (situation(None, beside(age=61), ONE), Step.roll_back, False, Reason.ROLLED_BACK),
    "no wish, rolled back": (situation(None, serving(failed=TWO.digest), ONE), Step.hold, False, Reason.ROLLED_BACK),
    "final": (situation(ONE, standing(final=True)), Step.recreate, True, Reason.ROLLING_OUT),
    "asleep and late": (situation(ONE, standing(age=900, asleep=True)), Step.hold, False, Reason.SCALED_TO_ZERO),
    "held by its queue and late": (situation(ONE, standing(age=900, held=True), ONE), Step.hold, True, Reason.QUEUED),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_every_situation_has_its_step(name: str) -> None:
    given_, step, progressing, reason = TABLE[name]
    decision = decide(given_, NOW)
    assert decision is not None
    assert (decision.step, decision.progressing, decision.reason) == (step, progressing, reason)


def test_without_a_wish_and_without_anything_there_is_nothing_to_decide() -> None:
    assert decide(situation(None, None), NOW) is None


def test_a_roll_back_says_what_failed_why_and_what_serves() -> None:
    hinted = beside(age=61, pending=Side(TWO.digest, hint="no node is free", failure_class="Unschedulable"))
    decision = decide(situation(TWO, hinted, ONE), NOW)
    assert decision is not None
    assert decision.message == (
        "small@2 did not come up: it does not answer after 60 s (no node is free); "
        "small@1 serves until something changes"
    )
    assert (decision.given_up, decision.failure_class) == (TWO.digest, "Unschedulable")


def test_what_is_up_is_the_wish_to_fall_back_to_even_while_the_next_is_wished() -> None:
    decision = decide(situation(TWO, serving(), None), NOW)
    assert decision is not None
    assert (decision.step, decision.good) == (Step.deploy, ONE)


def test_it_looks_again_when_the_deadline_ends() -> None:
    decision = decide(situation(ONE, standing(age=57)), NOW)
    assert decision is not None
    assert decision.again_seconds == pytest.approx(3)


targets = st.sampled_from([ONE, TWO, THREE])
sides = st.none() | st.builds(
    Side, digest=st.sampled_from(["", ONE.digest, TWO.digest, THREE.digest]), fault=st.sampled_from(["", "gave up"]),
    hint=st.sampled_from(["", "no node"]),
)  # fmt: skip
standings = st.builds(
    Standing,
    target=targets,
    since=st.floats(0, 100).map(lambda age: NOW - timedelta(seconds=age)),
    active=sides,
    pending=sides,
    answers=st.booleans(),
    answered_version=st.sampled_from(["", ONE.version, TWO.version]),
    failed=st.sampled_from(["", ONE.digest, TWO.digest]),
    failed_words=st.just("small@2 did not come up"),
    refused=st.sampled_from(["", "refused"]),
    final=st.booleans(),
    asleep=st.booleans(),
    held=st.booleans(),
)
situations = st.builds(
    Situation,
    target=st.none() | targets,
    standing=st.none() | standings,
    good=st.none() | targets,
    gate=st.sampled_from(Gate),
    gate_words=st.just("the evaluation says no"),
    deadline_seconds=st.just(60.0),
    asleep=st.booleans(),
)


@given(situations)
def test_a_step_that_was_done_leaves_nothing_more_to_do_and_says_the_same(before: Situation) -> None:
    decision = decide(before, NOW)
    if decision is None or decision.step in (Step.hold, Step.recreate):
        return
    after = decide(done(before, decision), NOW)
    assert after is not None
    if decision.step is Step.deploy and after.step is Step.roll_back:
        return  # its cluster stands already, and Serve gave up in it
    assert (after.step, after.progressing, after.reason, after.message) == (
        Step.hold, decision.progressing, decision.reason, decision.message,
    )  # fmt: skip


def done(before: Situation, decision: RolloutDecision) -> Situation:
    """What is seen when the step was carried out and nobody else has acted yet."""
    now = before.standing
    if decision.step is Step.evaluate:
        return replace(before, gate=Gate.running, good=decision.good or before.good)
    good = decision.good or before.good
    if decision.step is Step.roll_back:
        assert now is not None
        assert good is not None
        noted = {"failed": decision.given_up, "failed_words": decision.message}
        if before.target is not None and before.target.digest == good.digest:
            noted = {"failed": "", "failed_words": ""}
        return replace(before, good=good, standing=replace(now, target=good, since=NOW, refused="", **noted))
    assert before.target is not None
    fresh = now or Standing(before.target, NOW, asleep=before.asleep)
    cleared = {"failed": "", "failed_words": "", "refused": ""}
    return replace(before, good=good, standing=replace(fresh, target=before.target, since=NOW, **cleared))


@given(situations)
def test_traffic_moves_only_through_an_open_gate_and_a_given_up_wish_is_not_tried(before: Situation) -> None:
    decision = decide(before, NOW)
    if decision is not None and decision.step is Step.deploy:
        assert before.gate is Gate.open
        assert before.standing is None or before.target is None or before.standing.failed != before.target.digest


@given(situations)
def test_it_never_goes_back_to_what_was_not_good_nor_to_what_it_gives_up(before: Situation) -> None:
    decision = decide(before, NOW)
    if decision is not None and decision.step is Step.roll_back:
        assert before.standing is not None
        assert decision.good is not None
        assert decision.good.digest != before.standing.target.digest == decision.given_up
        assert not before.standing.asleep
