"""The status of a job: what was decided, KubeRay's two fields, the driver's document and pod facts folded into one.

The driver owns progress, metrics, checkpoint, model, verdict; phase and conditions are ours, and never say what the
children contradict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.records import StatusDocument
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.conditions import ConditionStatus, with_condition
from modelyard_operator.kinds.fitting import fitted
from modelyard_operator.kinds.names import child_name, index_name
from modelyard_operator.kinds.objects import CONFIG_MAPS, ObjectKey
from modelyard_operator.plan.jobs.accepting import objection
from modelyard_operator.plan.jobs.attempts import Attempt
from modelyard_operator.plan.jobs.decisions import (
    Case,
    Close,
    Decision,
    Ended,
    Fail,
    Hold,
    Refuse,
    Start,
    Succeed,
    Watch,
)
from modelyard_operator.plan.jobs.judging import Active
from modelyard_operator.plan.pods import WAITING_CLASSES
from modelyard_operator.plan.reading import clipped, dig, listed, mapping, rfc3339, text
from modelyard_operator.plan.registry_index import made_by

_STAGES = {
    "prepare": ("Preparing", Reason.PREPARING),
    "train": ("Training", Reason.TRAINING),
    "evaluate": ("Evaluating", Reason.EVALUATING),
    "register": ("Registering", Reason.REGISTERING),
}
_PHASES = {phase: stage for stage, (phase, _) in _STAGES.items()}
_OF_A_CHILD = ("jobName", "dashboardUrl")  # told only while there is one
_SPEEDS = ("tokensPerSecond", "etaSeconds")  # told only of a driver at work
_SHOWN_DIGITS = 6
_FOLDED = ("progress", "metrics", "checkpoint", "model")


def status_of(case: Case, decision: Decision) -> dict[str, Any]:
    """The whole status that is so after the decision."""
    before = mapping(case.observation.parent, "status")
    status = {**before, "observedGeneration": case.observation.parent["metadata"].get("generation", 0)}
    if isinstance(decision, Ended):
        return status
    status |= _learnt(case)
    status["conditions"] = _sound(before)
    for name in _OF_A_CHILD:
        status.pop(name, None)
    _say(case, decision, status)
    if not _at_work(decision):
        status["progress"] = {name: value for name, value in mapping(status, "progress").items() if name not in _SPEEDS}
    told = {name: value for name, value in status.items() if value not in (None, {}, [])}
    return fitted(case.observation.parent["kind"], told)


def _at_work(decision: Decision) -> bool:
    """Whether a driver goes on; of one that has succeeded stays what it said last."""
    if isinstance(decision, Watch):
        return decision.active.reason not in (Reason.STARTING, Reason.QUEUED)
    return isinstance(decision, Succeed)


def _learnt(case: Case) -> dict[str, Any]:
    """What the driver told; what an earlier attempt told stays until this one knows better."""
    document = case.attempt.report.document
    if document is None:
        return {}
    learnt = _rounded(document.to_dict())
    found = {name: learnt[name] for name in _FOLDED if learnt.get(name)}
    return found | ({"runId": document.run_id} if document.run_id else {})


def _rounded(value: Any) -> Any:
    """Numbers as people read them in a column; the run's own status.json has every digit."""
    if isinstance(value, Mapping):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.{_SHOWN_DIGITS}g}") if isinstance(value, float) else value


def _sound(before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions as they stand, without what is none."""
    needed = ("type", "status", "lastTransitionTime")
    return [dict(one) for one in listed(before, "conditions") if all(text(one, name) for name in needed)]


def _say(case: Case, decision: Decision, status: dict[str, Any]) -> None:
    match decision:
        case Refuse():
            _refuse(case, decision, status)
        case Hold():
            _hold(case, status)
        case Start():
            _start(case, decision, status)
        case Watch():
            _watch(case, decision.active, status)
        case Close():
            _close(case, decision, status)
        case Succeed():
            _succeed(case, status)
        case Fail():
            _fail(case, decision, status)


def _refuse(case: Case, decision: Refuse, status: dict[str, Any]) -> None:
    said = decision.objection
    true = {one["type"] for one in status["conditions"] if one["status"] == "True"}
    accepted = "Accepted" in true
    status["phase"] = "Suspended" if case.suspend and "Suspended" in true else "Pending"
    if not case.suspend:
        _resumed(case, status)
    if not accepted:  # an accepted spec is immutable: taking the word back would set it free
        _set(case, status, "Accepted", "False", said.reason, said.message)
    _set(case, status, "Progressing", "False", said.reason, said.message)


def _hold(case: Case, status: dict[str, Any]) -> None:
    _accept(case, status)
    status.update(phase="Suspended", lastFailure=_lasting(status))
    number = case.attempt.number
    told = f"attempt {number} has stopped" if number else "nothing was started"
    words = f"{told}, as spec.suspend wishes; everything committed is kept"
    _set(case, status, "Progressing", "False", Reason.SUSPENDED, words + _in_the_way(case))
    _set(case, status, "Suspended", "True", Reason.SUSPENDED, words)


def _in_the_way(case: Case) -> str:
    """What a suspended job could not go on with, told while it may still be changed."""
    said = case.refused
    if said is None and case.job is not None:
        said = objection(case.observation, case.job, case.attempt.number + 1)
    return f". So as it is now it will not go on: {said.message}" if said else ""


def _start(case: Case, decision: Start, status: dict[str, Any]) -> None:
    _accept(case, status)
    status.setdefault("startTime", rfc3339(case.now))
    status["attempts"] = decision.number
    status["jobName"] = child_name(case.observation.parent, decision.number)
    fresh = Active(Reason.STARTING, "KubeRay has not looked at the RayJob yet")
    _go_on(case, fresh, decision.number, status)
    status.update(phase="Pending", lastFailure=_lasting(status))


def _watch(case: Case, active: Active, status: dict[str, Any]) -> None:
    attempt = case.attempt
    _accept(case, status)
    status.setdefault("startTime", rfc3339(case.now))
    status["attempts"] = attempt.number
    status["phase"], reason = _phase(case, active)
    dashboard = text(attempt.rayjob, "status", "dashboardURL")
    if dashboard and active.reason in (Reason.TRAINING, Reason.STOPPING):
        status["dashboardUrl"] = f"http://{dashboard.removeprefix('http://')}"
    status["jobName"] = child_name(case.observation.parent, attempt.number)
    waits = attempt.fact.failure.message if attempt.fact and attempt.fact.waits else ""
    words = "; ".join(part for part in (active.message, waits) if part)
    _go_on(case, Active(reason, words), attempt.number, status)
    status["lastFailure"] = _failure_now(attempt, status)


def _phase(case: Case, active: Active) -> tuple[str, Reason]:
    """The phase for people, with the reason for `Progressing`, while KubeRay has not done with the job."""
    if active.reason in (Reason.STARTING, Reason.QUEUED):
        return "Pending", active.reason
    document = case.attempt.report.document
    if case.observation.parent["kind"] == "EvaluationJob":
        phase, reason = "Running", Reason.EVALUATING
    else:
        stage = _stage(document) or _told_stage(case)
        if stage is None:
            return "Pending", Reason.STARTING if active.reason is Reason.TRAINING else active.reason
        phase, reason = _STAGES[stage]
    return phase, reason if active.reason is Reason.TRAINING else active.reason


def _stage(document: StatusDocument | None) -> str | None:
    """The stage at work: by the driver's phase, or, once that tells its end, the last stage it was in."""
    if document is None:
        return None
    if document.phase in _PHASES:
        return _PHASES[document.phase]
    ended = document.phase in ("Succeeded", "Failed", "Suspended") and document.progress is not None
    return document.progress.stage if ended and document.progress and document.progress.stage in _STAGES else None


def _told_stage(case: Case) -> str | None:
    """Of a driver whose document cannot be read now (torn, of a newer schema): the stage that was told last."""
    told = text(case.observation.parent, "status", "progress", "stage")
    return told if case.attempt.report.complaint and told in _STAGES else None


def _close(case: Case, decision: Close, status: dict[str, Any]) -> None:
    failure = decision.ledger.seen if decision.ledger.outcome == "Failed" else None
    if failure is not None:
        status["lastFailure"] = failure.to_dict()
    attempt, number = case.attempt, case.attempt.number
    # KubeRay's finalizer holds a RayJob until its driver was told; without one it is gone when it is deleted.
    held = attempt.rayjob is not None and bool(dig(attempt.rayjob, "metadata", "finalizers"))
    lingers = held and not attempt.ended_by_kuberay
    if case.suspend and not lingers:
        _hold(case, status)
        return
    _accept(case, status)
    status.update(phase="Pending", attempts=number)
    if case.suspend:
        _go_on(case, Active(Reason.STOPPING, "the RayJob is being deleted"), number, status)
    elif failure is None:
        words = f"attempt {number} was stopped on purpose; attempt {number + 1} goes on from its newest commit"
        _go_on(case, Active(Reason.RESUMED, words), 0, status)
    else:
        words = (
            f"attempt {number} failed ({failure.failure_class}); attempt {number + 1} goes on from the newest commit"
        )
        _go_on(case, Active(Reason.RETRYING, words), 0, status)


def _succeed(case: Case, status: dict[str, Any]) -> None:
    _accept(case, status)
    attempt = case.attempt
    status.update(phase="Succeeded", attempts=attempt.number, lastFailure=None, completionTime=rfc3339(case.now))
    document = attempt.report.document
    if case.observation.parent["kind"] == "EvaluationJob" and document is not None:
        reason, words = Reason.VERDICT_REACHED, f"verdict {document.verdict}" if document.verdict else "no gates"
        status["verdict"] = document.verdict
        _passed(case, document, status)
    else:
        reason, words = Reason.COMPLETED, attempt.report.complaint or "all stages stand"
        if attempt.report.phase != "Succeeded":  # the API server was away when the driver had its last word
            status["model"] = status.get("model") or _registered(case, status)
    _resumed(case, status)
    _set(case, status, "Progressing", "False", reason, words)
    _set(case, status, "Complete", "True", reason, words)


def _registered(case: Case, status: Mapping[str, Any]) -> dict[str, Any] | None:
    """The version that the registry's index has of this run."""
    parent = case.observation.parent
    name = text(parent, "spec", "register", "name")
    index = case.observation.get(ObjectKey(CONFIG_MAPS, parent["metadata"]["namespace"], index_name(name)))
    found = made_by(text(status, "runId"), name, index)
    return {"name": found.name, "version": found.version, "digest": found.digest} if found else None


def _passed(case: Case, document: StatusDocument, status: dict[str, Any]) -> None:
    if document.verdict is None:
        return
    told = next((one.message for one in document.conditions if one.type == "Passed"), "")
    states: dict[str, tuple[ConditionStatus, Reason]] = {
        "Passed": ("True", Reason.GATES_PASSED),
        "Failed": ("False", Reason.GATE_FAILED),
    }
    state, reason = states.get(document.verdict, ("Unknown", Reason.NO_VERDICT))
    _set(case, status, "Passed", state, reason, clipped(told, 4096))


def _fail(case: Case, decision: Fail, status: dict[str, Any]) -> None:
    _accept(case, status)
    failure = decision.failure
    status.update(
        phase="Failed",
        attempts=case.attempt.number,
        lastFailure=failure.to_dict(),
        completionTime=rfc3339(case.now),
    )
    _resumed(case, status)
    _set(case, status, "Progressing", "False", decision.reason, failure.message)
    _set(case, status, "Failed", "True", decision.reason, failure.message)


def _failure_now(attempt: Attempt, status: Mapping[str, Any]) -> Any:
    """What to show while it goes on: what pods tell now, what they told, else the failure of an earlier attempt."""
    fact = attempt.fact
    if fact is not None:
        return fact.failure.to_dict()
    if attempt.ledger.seen is not None:
        return attempt.ledger.seen.to_dict()
    return _lasting(status)


def _lasting(status: Mapping[str, Any]) -> Any:
    """The last failure, unless it was a wait that is over."""
    failure = status.get("lastFailure")
    return None if text(failure, "class") in WAITING_CLASSES else failure


def _accept(case: Case, status: dict[str, Any]) -> None:
    _set(case, status, "Accepted", "True", Reason.MANIFEST_ACCEPTED, "")


def _go_on(case: Case, active: Active, number: int, status: dict[str, Any]) -> None:
    _resumed(case, status)
    complaint = case.attempt.report.complaint if number == case.attempt.number else ""
    said = [f"attempt {number}" if number else "", active.message, complaint]
    words = ": ".join(part for part in said if part)
    going: ConditionStatus = "False" if active.reason is Reason.QUEUED else "True"
    _set(case, status, "Progressing", going, active.reason, words)


def _resumed(case: Case, status: dict[str, Any]) -> None:
    if any(one["type"] == "Suspended" for one in status["conditions"]):
        _set(case, status, "Suspended", "False", Reason.RESUMED, "")


def _set(case: Case, status: dict[str, Any], kind: str, state: ConditionStatus, reason: Reason, message: str) -> None:
    generation = case.observation.parent["metadata"].get("generation", 0)
    status["conditions"] = [
        dict(one)
        for one in with_condition(
            status["conditions"],
            kind,
            state,
            reason.value,
            clipped(message, 8192),
            now=rfc3339(case.now),
            generation=generation,
        )
    ]
