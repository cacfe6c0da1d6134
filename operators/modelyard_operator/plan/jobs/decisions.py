"""What is to be done about a job: one value, chosen from what was seen, that can be printed and compared.

`decide` reads top to bottom as the rules do: an ended job stays ended; what is refused waits; an attempt is judged;
a wish to suspend, a deadline, a failure each lead to one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.records import FailureDigest
from modelyard.spec import FaultToleranceSpec, TrainingJob
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.conditions import is_over, is_true
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan.jobs.accepting import objection, once_keys
from modelyard_operator.plan.jobs.attempts import Attempt, newest_attempt, owned, record_key
from modelyard_operator.plan.jobs.judging import (
    Active,
    Judgement,
    Leaving,
    Missing,
    Over,
    Succeeded,
    judge,
    not_submitted,
)
from modelyard_operator.plan.jobs.ledger import Ledger
from modelyard_operator.plan.jobs.rayjobs import runtime_of
from modelyard_operator.plan.manifests import Job, Refused, job_of, snapshot_job
from modelyard_operator.plan.volumes import Objection

STOP_GRACE = timedelta(seconds=120)  # the driver has so long to commit; a step of a large model takes minutes at most
FORCED_PAUSE = timedelta(seconds=40)  # pods that were cut off have 30 s to go, and their clusters are out of sight
CLUSTER_PATIENCE = timedelta(seconds=120)  # KubeRay deletes an ended job's cluster; it is not waited for longer
_FIRST_PAUSE, _LONGEST_PAUSE = 10, 360  # seconds between attempts, doubling: as batch/v1 Jobs do


@dataclass(frozen=True)
class Refuse:
    """Not taken: what is in the way is told, and it is looked at again when that changes."""

    objection: Objection


@dataclass(frozen=True)
class Hold:
    """Suspended, and nothing runs."""


@dataclass(frozen=True)
class Start:
    """Create what the attempt needs, and its RayJob. Doing it again creates nothing twice."""

    number: int
    ledger: Ledger


@dataclass(frozen=True)
class Watch:
    """It is on its way. `ledger` when the account is to be amended; `control` is what the driver is told."""

    active: Active
    ledger: Ledger | None = None
    control: str = ""


@dataclass(frozen=True)
class Close:
    """The attempt is over and the job is not: remember why, let it go, try again (or hold) later.

    `cut`: the RayJob is deleted at once, for KubeRay would not end it by itself.
    """

    ledger: Ledger
    cut: bool


@dataclass(frozen=True)
class Succeed:
    """The job is complete."""


@dataclass(frozen=True)
class Fail:
    """The job has failed."""

    failure: FailureDigest
    reason: Reason


@dataclass(frozen=True)
class Ended:
    """The job ended earlier: clean up, and go when the time has come."""


Decision = Refuse | Hold | Start | Watch | Close | Succeed | Fail | Ended


@dataclass(frozen=True)
class Case:
    """A job and its newest attempt, as one reconcile sees them. `job` is what runs: None when nothing can be read."""

    observation: Observation
    job: Job | None
    refused: Objection | None
    attempt: Attempt
    suspend: bool

    @property
    def now(self) -> datetime:
        """The moment of the observation."""
        return self.observation.now

    @property
    def ledger(self) -> Ledger:
        """The attempt's account now. Its clock is kept only where there is a deadline: each spell costs two writes."""
        kept = self.attempt.ledger
        limited = self.job is not None and runtime_of(self.job).active_deadline_seconds is not None
        counts = kept.ended is None and (limited or kept.began is not None)
        return self.attempt.clocked(self.now) if counts else kept


def case_of(observation: Observation) -> Case:
    """Gather what is decided upon."""
    parent = observation.parent
    attempt = newest_attempt(observation)
    job = job_of(parent)
    refused = None
    if isinstance(job, Refused) or not is_true(parent, "Accepted"):
        refused = objection(observation, job, max(1, attempt.number))
    if isinstance(job, Refused):
        standing = owned(observation, record_key(parent, attempt.number)) or attempt.rayjob
        kept = snapshot_job(owned(observation, once_keys(parent)[0])) if standing else None
        job = kept if kept is not None else job
    spec = parent.get("spec")
    suspend = isinstance(spec, dict) and spec.get("suspend") is True
    return Case(observation, None if isinstance(job, Refused) else job, refused, attempt, suspend)


def decide(case: Case) -> Decision:
    """The one thing to do."""
    attempt = case.attempt
    if is_over(case.observation.parent):
        return Ended()
    if case.job is None and attempt.rayjob is not None:
        return _unread(judge(attempt, case.observation.parent["kind"]))
    if case.job is None or (case.refused is not None and attempt.rayjob is None):
        return Refuse(case.refused or Objection(Reason.INVALID_MANIFEST, "the manifest cannot be read"))
    if attempt.number == 0:
        return Hold() if case.suspend else _start(case, case.job, 1, Ledger())
    if attempt.ledger.ended is not None:
        return _after(case, case.job)
    return _judged(case, case.job, judge(attempt, case.job.kind))


def _unread(judgement: Judgement) -> Decision:
    """Neither spec nor snapshot can be read, and yet it runs: it may come to its end, no other attempt follows."""
    match judgement:
        case Succeeded():
            return Succeed()
        case Over(failure, _, reason):
            return Fail(failure, reason)
        case Active():
            return Watch(judgement)
        case Missing() | Leaving():
            return Watch(Active(Reason.STARTING, "the RayJob is being deleted from outside"))


def _judged(case: Case, job: Job, judgement: Judgement) -> Decision:
    attempt = case.attempt
    match judgement:
        case Missing():
            return Hold() if case.suspend else _deadline(case, job) or _start(case, job, attempt.number, case.ledger)
        case Leaving():
            return Watch(Active(Reason.STARTING, "the RayJob is being deleted from outside; another one follows"))
        case Active():
            return _active(case, job, judgement)
        case Succeeded():
            return Succeed()
        case Over():
            return _over(case, job, judgement)


def _start(case: Case, job: Job, number: int, ledger: Ledger) -> Decision:
    """Start an attempt, unless something stands in its way now: a claim may have gone since the job was accepted."""
    said = case.refused or objection(case.observation, job, number)
    return Start(number, ledger) if said is None else Refuse(said)


def _active(case: Case, job: Job, active: Active) -> Decision:
    attempt, runtime = case.attempt, runtime_of(job)
    fact, ledger = attempt.fact, case.ledger
    if fact and not fact.waits and ledger.seen is None:
        ledger = ledger.amended(seen=fact.failure)  # the pod is replaced soon, and what it told with it
    if late := _deadline(case, job):
        why = f"spec.runtime.activeDeadlineSeconds: {runtime.active_deadline_seconds} is over; "
        return _stopping(case, active, ledger, why, late)
    patience = timedelta(seconds=runtime.start_deadline_seconds)
    if fact and fact.waits and fact.since and case.now - fact.since >= patience:
        return Fail(fact.failure, Reason.RUN_FAILED)
    if attempt.submitted_since and case.now - attempt.submitted_since >= patience and not case.suspend:
        return Fail(not_submitted(attempt), Reason.RUN_FAILED)
    if case.suspend:
        return _stopping(case, active, ledger, "", _close(case, ledger, None, cut=True))
    return Watch(active, ledger)


def _stopping(case: Case, active: Active, ledger: Ledger, why: str, cut_off: Decision) -> Decision:
    """Ask the driver to commit and stop; cut it off when there is no driver yet, or when it takes too long."""
    attempt = case.attempt
    if active.reason is Reason.ENDING:
        return Watch(active, ledger, attempt.control)
    if active.reason is not Reason.TRAINING:
        return cut_off
    asked = ledger.stop_asked if attempt.told_to_stop else None
    if asked is not None and case.now - asked >= STOP_GRACE:
        return cut_off
    words = f"{why}the driver was asked to commit and stop"
    return Watch(Active(Reason.STOPPING, words), ledger.amended(stop_asked=asked or case.now), "stop")


def _over(case: Case, job: Job, over: Over) -> Decision:
    attempt = case.attempt
    asked = case.suspend or (attempt.ledger.stop_asked is not None and over.failure.failure_class == "Interrupted")
    if over.final:
        return Fail(over.failure, over.reason)
    if late := _deadline(case, job):
        return late
    cut = attempt.deployment_status == "ValidationFailed"
    if asked:
        return _close(case, case.ledger, None, cut=cut or (case.suspend and not attempt.clusters))
    if attempt.failures() > max_restarts(job):
        return Fail(over.failure, Reason.RESTARTS_USED_UP)
    return _close(case, case.ledger, over.failure, cut=cut)


def _close(case: Case, ledger: Ledger, failure: FailureDigest | None, *, cut: bool) -> Close:
    """End the attempt: by a failure, or (None) on purpose, which counts as none."""
    attempt = case.attempt
    committed = attempt.committed()
    carried = ledger.failures if committed <= ledger.committed else 0
    closed = ledger.amended(
        seen=failure or ledger.seen,
        ended=case.now.replace(microsecond=0),
        outcome="Suspended" if failure is None else "Failed",
        failures_after=carried if failure is None else attempt.failures(),
        committed_after=committed,
        active_after=round(attempt.active_seconds(case.now), 3),
    )
    return Close(closed, cut)


def _after(case: Case, job: Job) -> Decision:
    """An attempt that was closed: hold, wait, or go on with the next one."""
    attempt, ledger = case.attempt, case.attempt.ledger
    assert ledger.ended is not None  # that is what closed means
    late = case.now - ledger.ended >= CLUSTER_PATIENCE
    settled = attempt.rayjob is None or late or not (attempt.clusters or attempt.leaving)
    at_work = attempt.rayjob is not None and not attempt.ended_by_kuberay
    if at_work and not attempt.leaving:  # it was to be cut off, and was not: its pods have their time from now on
        return Close(ledger.amended(ended=case.now.replace(microsecond=0)), cut=True)
    if case.suspend:
        return Hold() if attempt.rayjob is None else Close(ledger, cut=settled)
    if at_work or not settled or case.now < ledger.ended + pause(attempt):
        return Close(ledger, cut=False)
    return _deadline(case, job) or _start(case, job, attempt.number + 1, ledger.following())


def pause(attempt: Attempt) -> timedelta:
    """How long after the end of a closed attempt the next one may start."""
    failures = min(attempt.ledger.failures_after, 10)
    backoff = timedelta(seconds=min(_FIRST_PAUSE * 2 ** max(0, failures - 1), _LONGEST_PAUSE))
    return max(backoff, FORCED_PAUSE) if attempt.rayjob is None else backoff


def _deadline(case: Case, job: Job) -> Fail | None:
    """The end when the job's time is spent. Who was asked to suspend in time may take longer to commit."""
    limit, attempt = runtime_of(job).active_deadline_seconds, case.attempt
    asked = attempt.ledger.stop_asked if case.suspend and attempt.told_to_stop else None
    spent = attempt.ledger.active_after if attempt.ledger.ended else attempt.active_seconds(asked or case.now)
    if limit is None or spent < limit:
        return None
    words = f"all attempts together took longer than spec.runtime.activeDeadlineSeconds: {limit}"
    hint = "what was committed is kept: apply the job anew with a later deadline, and it goes on from there"
    digest = FailureDigest(failure_class="Interrupted", message=words, hint=hint, retryable=False)
    return Fail(digest, Reason.DEADLINE_EXCEEDED)


def max_restarts(job: Job) -> int:
    """Failures in a row without a new commit that are borne; an EvaluationJob bears as many as is the default."""
    return (job.spec.fault_tolerance if isinstance(job, TrainingJob) else FaultToleranceSpec()).max_restarts
