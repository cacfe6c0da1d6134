"""What an attempt has come to: KubeRay's two status fields read together, with the driver's document and pod facts.

KubeRay's fields contradict each other at times: `Failed` with `RUNNING`, `Running` with `SUCCEEDED`, `Complete` with
`STOPPED`. The deployment status says whether KubeRay has done with the job, the job status how the driver ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import FailureClass
from modelyard.records import FailureDigest
from modelyard.spec.reasons import Reason
from modelyard_operator.plan.jobs.attempts import Attempt
from modelyard_operator.plan.pods import WAITING_CLASSES
from modelyard_operator.plan.reading import clipped, text

_JOB_OVER = ("SUCCEEDED", "FAILED", "STOPPED")
_HELD = ("Suspending", "Suspended")
_ENDED_BY_EXIT_CODE = ("FAILED", "RUNNING", "PENDING", "")  # all but the first when KubeRay saw the submitter end first


@dataclass(frozen=True)
class Missing:
    """There is no RayJob of that attempt: it was not created yet, or somebody deleted it."""


@dataclass(frozen=True)
class Leaving:
    """The RayJob is being deleted, not by us: another is made when it is gone."""


@dataclass(frozen=True)
class Active:
    """KubeRay has not done with it. `reason` is Starting, Queued, Training (at work) or Ending."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Succeeded:
    """It ended as hoped for."""


@dataclass(frozen=True)
class Over:
    """It ended otherwise. `final`: trying again does not mend it."""

    failure: FailureDigest
    final: bool
    reason: Reason = Reason.RUN_FAILED


Judgement = Missing | Leaving | Active | Succeeded | Over


def judge(attempt: Attempt, kind: str) -> Judgement:
    """Judge an attempt of a job of that kind."""
    if attempt.rayjob is None:
        return Missing()
    deployment, job = attempt.deployment_status, attempt.job_status
    if deployment == "ValidationFailed":
        return Over(_refused(attempt), final=False)
    if not attempt.ended_by_kuberay:
        return Leaving() if attempt.leaving else _active(deployment, job)
    if _succeeded(attempt, kind):
        return Succeeded()
    return _over(attempt, kind)


def _active(deployment: str, job: str) -> Active:
    if deployment in _HELD:
        return Active(Reason.QUEUED, "the RayJob is suspended: its queue has not admitted it, or somebody holds it")
    if deployment != "Running":
        known = {"": "KubeRay has not looked at the RayJob yet", "Initializing": "the Ray cluster is being started"}
        return Active(Reason.STARTING, known.get(deployment, f"KubeRay says {clipped(deployment, 64)}"))
    if job in _JOB_OVER:
        return Active(Reason.ENDING, f"Ray says {job}; KubeRay is about to tell")
    if job != "RUNNING":
        return Active(Reason.STARTING, "the driver is being submitted, by a pod of its own")
    return Active(Reason.TRAINING, "the driver is at work")


def _succeeded(attempt: Attempt, kind: str) -> bool:
    complete = (attempt.deployment_status, attempt.job_status) == ("Complete", "SUCCEEDED")
    if kind == "TrainingJob":
        return complete and attempt.report.phase not in ("Failed", "Suspended")
    document = attempt.report.document
    if document is None or document.phase != "Succeeded":
        return False  # a verdict that cannot be read is none
    # The driver's exit code says no when its verdict does.
    said_no = attempt.deployment_status == "Failed" and attempt.job_status in _ENDED_BY_EXIT_CODE
    return complete or (said_no and document.verdict in ("Failed", "Inconclusive", "Error"))


def _over(attempt: Attempt, kind: str) -> Over:
    document = attempt.report.document
    seen = attempt.ledger.seen or (attempt.fact.failure if attempt.fact else None)
    if document and document.last_failure and document.phase in ("Failed", "Suspended"):
        failure = document.last_failure
        broke = failure.failure_class == "WorkerLost" or (
            failure.failure_class == "Interrupted" and attempt.ledger.stop_asked is None
        )  # who was asked to stop has outlived what its pods told
        if broke and seen and seen.failure_class == "OutOfMemory":
            return Over(seen, final=True)  # the first cause, not what broke after it
        return _told(failure)
    if text(attempt.rayjob, "status", "reason") == "PreRunningDeadlineExceeded":
        return Over(_never_started(seen, attempt), final=True)
    if seen and seen.failure_class not in WAITING_CLASSES:
        return Over(seen, final=not seen.retryable)
    return Over(_silent(attempt, kind), final=False)


def _told(failure: FailureDigest) -> Over:
    """What the driver said itself."""
    match failure.failure_class:
        case "GateFailed":
            return Over(failure, final=True, reason=Reason.GATE_FAILED)
        case "Interrupted":
            return Over(failure, final=False)
        case "WorkerLost" | "Hang" if failure.where.stage == "train":
            # The driver restarts its workers itself, over attempts too: when it gives up, maxRestarts are used up.
            return Over(failure, final=True, reason=Reason.RESTARTS_USED_UP)
        case _:
            return Over(failure, final=not failure.retryable)


def _refused(attempt: Attempt) -> FailureDigest:
    words = f"KubeRay refuses the RayJob: {_kuberay_says(attempt)}"
    return _digest("Internal", words, "KubeRay never takes this one up again: another is made in its place", True)


def _never_started(seen: FailureDigest | None, attempt: Attempt) -> FailureDigest:
    if seen and seen.failure_class in WAITING_CLASSES:
        return seen
    words = f"the pods did not all start within spec.runtime.startDeadlineSeconds: {_kuberay_says(attempt)}"
    return _digest("Unschedulable", words, "look at the pods' events; wait for capacity, or ask for less", True)


def not_submitted(attempt: Attempt) -> FailureDigest:
    """Ray stands, and the pod that is to hand it the driver does not run; KubeRay waits for it without end."""
    child = text(attempt.rayjob, "metadata", "name")
    words = (
        f"the Ray cluster stands, but the driver was not submitted to it within spec.runtime.startDeadlineSeconds: "
        f"the pod of the Job {child} has not run"
    )
    hint = f"look at that pod's events (kubectl describe pod -l job-name={child}): node, quota, image"
    return _digest("Unschedulable", words, hint, True)


def _silent(attempt: Attempt, kind: str) -> FailureDigest:
    """The driver's last word is missing: say what Ray and KubeRay tell."""
    job, deployment = attempt.job_status, attempt.deployment_status
    if job == "STOPPED":
        return _digest("Interrupted", "the Ray job was stopped from outside", "the run goes on from its commit", True)
    if (deployment, job) == ("Complete", "SUCCEEDED"):
        why = attempt.report.complaint or "its document does not tell the end"
        lost = "the verdict" if kind == "EvaluationJob" else "the end"
        return _digest("Internal", f"the driver ended well, but {lost} is not known: {why}", "it is run again", True)
    words = f"the driver ended without a last word (Ray says {job or 'nothing'}): {_kuberay_says(attempt)}"
    return _digest("WorkerLost", words, "driver.log in the run's folder tells more", True)


def _kuberay_says(attempt: Attempt) -> str:
    reason, message = (text(attempt.rayjob, "status", name) for name in ("reason", "message"))
    return ": ".join(part for part in (reason, message) if part) or attempt.deployment_status or "nothing"


def _digest(failure_class: FailureClass, words: str, hint: str, retryable: bool) -> FailureDigest:
    message = clipped(" ".join(words.split()), 1024)
    return FailureDigest(failure_class=failure_class, message=message, hint=hint, retryable=retryable)
