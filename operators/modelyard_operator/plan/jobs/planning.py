"""TrainingJob and EvaluationJob: observe → case → decision → actions. Called for every parent of these kinds.

The order of actions is what makes a crash at any point harmless: a start writes the status first (a stale view of the
parent stops there), then creates; a close remembers why before it deletes; an end is told before anything is removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from modelyard.spec import TrainingJob
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.actions import Action, Create, Delete, Emit, Patch, Requeue
from modelyard_operator.kinds.names import CONTROL_KEY, base_name, index_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    POD_DISRUPTION_BUDGETS,
    Json,
    ObjectKey,
    key_of,
    owner_reference,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.jobs import accepting
from modelyard_operator.plan.jobs.attempts import number_of, owned, rayjob_key, record_key
from modelyard_operator.plan.jobs.children import children, index, record, snapshot
from modelyard_operator.plan.jobs.decisions import (
    CLUSTER_PATIENCE,
    STOP_GRACE,
    Case,
    Close,
    Decision,
    Ended,
    Fail,
    Refuse,
    Start,
    Succeed,
    Watch,
    case_of,
    decide,
    pause,
)
from modelyard_operator.plan.jobs.folding import status_of
from modelyard_operator.plan.jobs.ledger import Ledger
from modelyard_operator.plan.jobs.rayjobs import rayjob, runtime_of
from modelyard_operator.plan.jobs.telling import transitions
from modelyard_operator.plan.manifests import Job, digest_of, snapshot_digest
from modelyard_operator.plan.patching import content, difference, lacking, patch_of
from modelyard_operator.plan.reading import mapping, moment, text


def interest(parent: Json, settings: Settings) -> tuple[ObjectKey, ...]:
    """Keys of what is looked at though the job does not control it."""
    del settings
    return accepting.interest(parent)


def plan(observation: Observation, settings: Settings) -> list[Action]:
    """What is to be done now; empty when the world is as it should be."""
    if text(observation.parent, "metadata", "deletionTimestamp"):
        return []  # children go by their owner references
    if adopted := [*_adopted(observation)]:
        return adopted  # what is ours is seen as such the next time
    case = case_of(observation)
    decision = decide(case)
    return [*_actions(case, decision, settings), *_requeue(case, decision)]


def _adopted(observation: Observation) -> Iterator[Action]:
    """Children that lost their owner (a restored backup) get it back."""
    parent = observation.parent
    for key in accepting.child_keys(parent):
        item = observation.get(key)
        if item is not None and accepting.orphaned(parent, item):
            yield patch_of(item, {"metadata": {"ownerReferences": [owner_reference(parent)]}})


def _actions(case: Case, decision: Decision, settings: Settings) -> Iterator[Action]:
    told = list(_told(case, decision))
    match decision:
        case Start(number, ledger) if case.job is not None:
            yield from _events(case, told, decision)
            yield from _started(case, case.job, number, ledger, settings, told)
        case Watch():
            yield from _kept(case, decision)
            yield from _events(case, told, decision)
            yield from told
        case Close(ledger, cut):
            yield from _closed(case, ledger, cut)
            yield from _events(case, told, decision)
            yield from told
        case Succeed() | Fail() | Ended():
            yield from _events(case, told, decision)
            yield from told
            yield from _removed(case)
            yield from _expired(case)
        case _:
            yield from _events(case, told, decision)
            yield from told
            yield from _accounted(case, case.ledger)


def _told(case: Case, decision: Decision) -> Iterator[Patch]:
    """The patch of the status; before anything is created also when it changes nothing: a stale parent stops there."""
    before, after = mapping(case.observation.parent, "status"), status_of(case, decision)
    changes = difference(before, after)
    if changes or isinstance(decision, Start):
        yield patch_of(case.observation.parent, {"status": changes} if changes else {}, "status")


def _events(case: Case, told: list[Patch], decision: Decision) -> Iterator[Emit]:
    if not any(patch.body for patch in told):
        return
    before = mapping(case.observation.parent, "status")
    if isinstance(decision, Start) and case.attempt.ledger.outcome == "Failed":  # who closed it may not have told
        yield from transitions(before, status_of(case, Close(case.attempt.ledger, cut=False)))
    yield from transitions(before, status_of(case, decision))
    if isinstance(decision, Start) and decision.number == 1 and POD_DISRUPTION_BUDGETS not in case.observation.served:
        words = "this server knows no policy/v1: there is no PodDisruptionBudget, a drained node interrupts the run"
        yield Emit("Normal", "NoDisruptionBudget", words)


def _started(
    case: Case, job: Job, number: int, ledger: Ledger, settings: Settings, told: list[Patch]
) -> Iterator[Action]:
    observation = case.observation
    parent = observation.parent
    yield from told
    yield from _upkeep(case, job, number, running=False)
    if owned(observation, record_key(parent, number)) is None:
        yield Create(record(parent, number, ledger))
    if owned(observation, rayjob_key(parent, number)) is None:
        yield Create(rayjob(parent, job, number, settings))
    yield from _accounted(case, case.ledger)  # last: who has not seen the RayJob stops at its creation
    for key, item in _attempts_before(observation, number):
        yield Delete(key, uid_of(item))


def _attempts_before(observation: Observation, number: int) -> Iterator[tuple[ObjectKey, Json]]:
    for key, item in observation.objects.items():
        if 0 < number_of(observation, key) < number and not text(item, "metadata", "deletionTimestamp"):
            yield key, item


def _kept(case: Case, decision: Watch) -> Iterator[Action]:
    """What a running attempt needs stays as it should be; its account and what its driver is told are brought up."""
    attempt, observation = case.attempt, case.observation
    if case.job is not None:
        yield from _upkeep(case, case.job, attempt.number, running=True)
    ledger = decision.ledger or attempt.ledger
    if attempt.record is None:
        yield Create(record(observation.parent, attempt.number, ledger))
        return
    body: dict[str, Any] = {}
    if ledger != attempt.ledger:
        body["metadata"] = {"annotations": ledger.annotation()}
    if decision.ledger is not None and decision.control != attempt.control:
        body["data"] = {CONTROL_KEY: decision.control or None}
    if body:
        yield patch_of(attempt.record, body)


def _accounted(case: Case, ledger: Ledger) -> Iterator[Patch]:
    """The attempt's account as it is to be."""
    record = case.attempt.record
    if record is not None and ledger != case.attempt.ledger:
        yield patch_of(record, {"metadata": {"annotations": ledger.annotation()}})


def _closed(case: Case, ledger: Ledger, cut: bool) -> Iterator[Action]:
    attempt, observation = case.attempt, case.observation
    if attempt.record is None:
        yield Create(record(observation.parent, attempt.number, ledger))
    yield from _accounted(case, ledger)
    if cut and attempt.rayjob is not None and not attempt.leaving:
        yield Delete(rayjob_key(observation.parent, attempt.number), uid_of(attempt.rayjob))


def _upkeep(case: Case, job: Job, number: int, *, running: bool) -> Iterator[Action]:
    """Children that are missing are created, those changed by hand put right."""
    observation = case.observation
    parent = observation.parent
    yield from _snapshot(case, job, running)
    for wished in children(parent, job, number, observation.served):
        standing = observation.get(key_of(wished))
        if standing is None:
            yield Create(wished)
        elif owned(observation, key_of(wished)) is not None:
            yield from _put_right(standing, wished, lacking(standing, content(wished)))
    if isinstance(job, TrainingJob):
        namespace, model = parent["metadata"]["namespace"], job.spec.register.name
        if observation.get(ObjectKey(CONFIG_MAPS, namespace, index_name(model))) is None:
            yield Create(index(namespace, model))


def _snapshot(case: Case, job: Job, running: bool) -> Iterator[Action]:
    """What runs is what was accepted: a whole snapshot stays while its attempt runs, an edited one is put right."""
    observation = case.observation
    standing = observation.get(accepting.once_keys(observation.parent)[0])
    if standing is None:
        yield Create(snapshot(observation.parent, job))
        return
    digest = snapshot_digest(standing)
    if owned(observation, key_of(standing)) is None or (digest and (running or digest == digest_of(job))):
        return
    wished = snapshot(observation.parent, job)
    if not digest:
        words = f"the ConfigMap {base_name(observation.parent)} was edited by hand; it is put right from the spec"
        yield Emit("Warning", "SnapshotRestored", words)
    changed = difference(mapping(standing, "data"), wished["data"])
    yield from _put_right(standing, wished, {"data": changed} if changed else {})


def _put_right(standing: Json, wished: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[Action]:
    marks = {name: wished["metadata"].get(name, {}) for name in ("labels", "annotations")}
    metadata = lacking(mapping(standing, "metadata"), {name: value for name, value in marks.items() if value})
    body = {**content, **({"metadata": metadata} if metadata else {})}
    if body:
        yield patch_of(standing, body)


def _removed(case: Case) -> Iterator[Delete]:
    """Everything of an ended run but the snapshot."""
    observation = case.observation
    once = set(accepting.once_keys(observation.parent)) - {accepting.once_keys(observation.parent)[0]}
    for key, item in observation.objects.items():
        ours = (key in once and owned(observation, key) is not None) or number_of(observation, key) > 0
        if ours and not text(item, "metadata", "deletionTimestamp"):
            yield Delete(key, uid_of(item))


def _expired(case: Case) -> Iterator[Delete]:
    parent = case.observation.parent
    left = _seconds_to_live(case)
    if left is not None and left <= 0:
        yield Delete(key_of(parent), uid_of(parent))


def _seconds_to_live(case: Case) -> float | None:
    """Until the finished job object is to go; None when it stays, or has not finished."""
    ended = moment(case.observation.parent, "status", "completionTime")
    limit = runtime_of(case.job).ttl_seconds_after_finished if case.job else None
    if ended is None or limit is None:
        return None
    return (ended + timedelta(seconds=limit) - case.now).total_seconds()


def _requeue(case: Case, decision: Decision) -> Iterator[Requeue]:
    """When the clock decides something next."""
    waits = [seconds for seconds in _waits(case, decision) if seconds > 0]
    if waits:
        yield Requeue(min(waits))


def _waits(case: Case, decision: Decision) -> Iterator[float]:
    attempt, now = case.attempt, case.now
    match decision:
        case Refuse(said) if said.reason is Reason.KUBERAY_MISSING:
            yield 60.0  # kinds that come to be served are no change of any object
        case Watch():
            ledger = decision.ledger or attempt.ledger
            if ledger.stop_asked is not None and decision.control:
                yield (ledger.stop_asked + STOP_GRACE - now).total_seconds()
            limit = runtime_of(case.job).active_deadline_seconds if case.job else None
            if limit is not None and moment(attempt.rayjob, "status", "startTime"):
                yield limit - attempt.active_seconds(now)
            if attempt.fact and attempt.fact.waits and attempt.fact.since and case.job:
                patience = timedelta(seconds=runtime_of(case.job).start_deadline_seconds)
                yield (attempt.fact.since + patience - now).total_seconds()
            if attempt.submitted_since and case.job:
                patience = timedelta(seconds=runtime_of(case.job).start_deadline_seconds)
                yield (attempt.submitted_since + patience - now).total_seconds()
        case Close(ledger, _) if ledger.ended is not None:
            yield (ledger.ended + pause(attempt) - now).total_seconds()
            yield (ledger.ended + CLUSTER_PATIENCE - now).total_seconds()
        case Succeed() | Fail() | Ended():
            left = _seconds_to_live(case)
            yield left if left is not None else 0.0
        case _:
            return
