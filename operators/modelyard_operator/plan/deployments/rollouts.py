"""What a rollout does next, decided from plain values: wish, what stands, what was good, what answers, the clock.

Bringing a version up beside the serving one and moving the traffic is KubeRay's (NewCluster); this decides when to ask
for it, when it has succeeded, and when to go back. It knows no Kubernetes object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from modelyard.errors import FailureClass
from modelyard.spec.reasons import Reason

LOOK_AGAIN_SECONDS = 10.0  # while something is on its way: children's changes come by watch, endpoints must be asked
DOUBT_SECONDS = 5.0  # when one that answered does not
WATCH_SECONDS = 30.0  # how often a standing endpoint is asked; chosen by feel


class Step(StrEnum):
    """What is to be done."""

    hold = "hold"
    evaluate = "evaluate"
    deploy = "deploy"
    roll_back = "roll back"
    recreate = "recreate"


class Gate(StrEnum):
    """What the evaluation of the wished version says; `open` when none is asked for, or it has passed."""

    open = "open"
    missing = "missing"
    running = "running"
    refused = "refused"


@dataclass(frozen=True)
class Target:
    """A wish: its digest, and the version that it pins as `name@version`."""

    digest: str
    version: str


@dataclass(frozen=True)
class Side:
    """A cluster under the service: the digest of the wish it was made for, and what goes wrong in it.

    `fault`: Serve gave up; `hint`: its pods wait for something. `failure_class` is that of either.
    """

    digest: str
    fault: str = ""
    hint: str = ""
    failure_class: FailureClass = "Internal"


@dataclass(frozen=True)
class Standing:
    """What stands: a wish, since when it is on its way, and the clusters that are `active` (traffic) and `pending`.

    `failed` is the digest that was given up by a roll-back to this wish, `failed_words` and `failed_class` why.
    `refused`: KubeRay will not have it. `final`: only deleting it helps. `asleep`: no replicas are wished for.
    `held`: a queue holds it.
    """

    target: Target
    since: datetime
    active: Side | None = None
    pending: Side | None = None
    answers: bool = False
    answered_version: str = ""
    failed: str = ""
    failed_words: str = ""
    failed_class: FailureClass = "Internal"
    refused: str = ""
    final: bool = False
    asleep: bool = False
    held: bool = False

    @property
    def arrived(self) -> bool:
        """The cluster that takes the traffic was made for this wish, and none is on its way."""
        return self.pending is None and self.active is not None and self.active.digest == self.target.digest

    @property
    def up(self) -> bool:
        """It has arrived and answers as the version that it pins."""
        named = bool(self.target.digest and self.target.version)  # its notes are whole
        return named and self.arrived and self.answers and self.answered_version == self.target.version

    @property
    def fault(self) -> str:
        """Why this wish will not come up by itself; empty while it may."""
        return self.refused or (self.own.fault if self.own else "")

    @property
    def own(self) -> Side | None:
        """The cluster that was made for this wish, the pending one first."""
        sides = [side for side in (self.pending, self.active) if side and side.digest == self.target.digest]
        return next(iter(sides), None)


@dataclass(frozen=True)
class RolloutDecision:
    """The step, and what the condition Progressing says; it says the same when the step is done.

    `good`: the wish to fall back to from now on. `given_up`: the digest that a roll-back leaves.
    """

    step: Step
    progressing: bool
    reason: Reason
    message: str
    again_seconds: float = LOOK_AGAIN_SECONDS
    good: Target | None = None
    given_up: str = ""
    failure_class: FailureClass | None = None


@dataclass(frozen=True)
class Situation:
    """All that the next step depends on, but the clock. `good` is the wish that served last."""

    target: Target | None
    standing: Standing | None
    good: Target | None = None
    gate: Gate = Gate.open
    gate_words: str = ""
    deadline_seconds: float = 1800.0
    asleep: bool = False


def decide(situation: Situation, now: datetime) -> RolloutDecision | None:
    """The next step; None when no wish can be met and nothing stands.

    Without a target (the manifest is not accepted now) what stands is brought to its end: up, or back.
    """
    target, standing, good = situation.target, situation.standing, situation.good
    if standing is None:
        return None if target is None else _go(target, situation, now)
    if standing.up:
        good = standing.target
        situation = replace(situation, good=good)
    if standing.final:
        return replace(_rolling(standing, LOOK_AGAIN_SECONDS), step=Step.recreate, good=good)
    if target is None or standing.target.digest == target.digest:
        decision = _arrive(standing, good, now, situation.deadline_seconds)
    elif standing.failed == target.digest:
        decision = _stay_back(standing)
    else:
        decision = _go(target, situation, now)
    return replace(decision, good=good)


def _go(target: Target, situation: Situation, now: datetime) -> RolloutDecision:
    """On to another wish, when its gate is open."""
    gate, said = situation.gate, situation.gate_words
    if gate is Gate.refused:
        words = f"{target.version} takes no traffic: {said}"
        return RolloutDecision(Step.hold, False, Reason.GATE_FAILED, words, WATCH_SECONDS, failure_class="GateFailed")
    if gate is not Gate.open:
        step = Step.evaluate if gate is Gate.missing else Step.hold
        words = f"{target.version} is evaluated before it takes traffic" + (f": {said}" if said else "")
        return RolloutDecision(step, True, Reason.EVALUATING, words)
    before = situation.standing or Standing(target, now, asleep=situation.asleep)
    after = replace(before, target=target, since=now, refused="", failed="", failed_words="")
    return replace(_arrive(after, situation.good, now, situation.deadline_seconds), step=Step.deploy)


def _arrive(standing: Standing, good: Target | None, now: datetime, deadline_seconds: float) -> RolloutDecision:
    """Wait for the wish that stands, or give it up."""
    version = standing.target.version
    if standing.failed:
        return _stay_back(standing)
    if standing.asleep:
        return RolloutDecision(Step.hold, False, Reason.SCALED_TO_ZERO, "no replicas are wished for", WATCH_SECONDS)
    if standing.held:
        words = f"{version} waits until its queue admits it"
        return RolloutDecision(Step.hold, True, Reason.QUEUED, words, WATCH_SECONDS)
    was_good = good is not None and good.digest == standing.target.digest
    if was_good and standing.arrived:
        again = WATCH_SECONDS if standing.up else LOOK_AGAIN_SECONDS
        return RolloutDecision(Step.hold, False, Reason.ROLLED_OUT, f"{version} is rolled out", again)
    left = deadline_seconds - (now - standing.since).total_seconds()
    if was_good or (not standing.fault and left > 0):
        return _rolling(standing, min(LOOK_AGAIN_SECONDS, left) if left > 0 else LOOK_AGAIN_SECONDS)
    return _give_up(standing, good, deadline_seconds)


def _give_up(standing: Standing, good: Target | None, deadline_seconds: float) -> RolloutDecision:
    """It has failed: back to the last good one, or, where there is none, wait for whoever mends it."""
    own, target = standing.own or Side(""), standing.target
    late = f"it does not answer after {deadline_seconds:g} s" + (f" ({own.hint})" if own.hint else "")
    why, blame = standing.fault or late, own.failure_class
    if good is None:
        words = f"{target.version} does not come up: {why}"
        return RolloutDecision(Step.hold, False, Reason.ROLLOUT_FAILED, words, failure_class=blame)
    words = f"{target.version} did not come up: {why}; {good.version} serves until something changes"
    back = replace(_stay_back(replace(standing, failed_words=words, failed_class=blame)), step=Step.roll_back)
    return replace(back, given_up=target.digest)


def _rolling(standing: Standing, again_seconds: float) -> RolloutDecision:
    hint = f": {standing.own.hint}" if standing.own and standing.own.hint else ""
    words = f"bringing up {standing.target.version}{hint}"
    return RolloutDecision(Step.hold, True, Reason.ROLLING_OUT, words, again_seconds)


def _stay_back(standing: Standing) -> RolloutDecision:
    words, blame = standing.failed_words, standing.failed_class
    return RolloutDecision(Step.hold, False, Reason.ROLLED_BACK, words, WATCH_SECONDS, failure_class=blame)
