"""KubeRay's known contradictions, one case each (numbers as in KubeRay's tracker), and every combination of fields.

What a job's status says is held against what its children say: the status is never better than they are.
"""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from modelyard_operator.cluster.merging import merge
from modelyard_operator.kinds.actions import Delete, Patch
from modelyard_operator.kinds.objects import RAY_JOBS
from modelyard_operator.plan import plan
from support.job_worlds import SETTINGS, World, evaluation, failure, job, world


def begun(**spec: object) -> World:
    """A TrainingJob at work in its first attempt."""
    w = world(job(**spec))
    w.settle()
    w.run()
    return w


def test_2314_failed_while_ray_says_running_is_a_failure() -> None:
    w = begun()
    w.kuberay("Failed", "RUNNING", reason="DeadlineExceeded", message="deadline")
    w.settle()
    assert w.condition("Complete") == ("", "")
    assert w.condition("Progressing") == ("True", "Retrying")
    assert w.status["lastFailure"]["class"] == "WorkerLost"


def test_3860_a_head_that_restarts_loses_the_job_which_is_tried_again() -> None:
    w = begun()
    w.kuberay("Failed", "RUNNING", reason="AppFailed", message="Ray head pod not found.")
    w.settle()
    assert "Ray head pod not found" in w.status["lastFailure"]["message"]
    w.tick(10)
    w.settle()
    assert (w.status["attempts"], w.names(RAY_JOBS)) == (2, [w.rayjob(2).name])


def test_3903_a_submitter_that_ended_without_a_word_of_ray_is_a_failure_that_kuberay_wrote_itself() -> None:
    w = begun()
    w.kuberay("Failed", "FAILED", reason="JobDeploymentStatusTransitionGracePeriodExceeded")
    w.settle()
    assert "GracePeriodExceeded" in w.status["lastFailure"]["message"]
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2


def test_4217_a_hung_job_is_running_until_kuberay_says_otherwise() -> None:
    w = begun()
    w.tick(3600)
    assert w.step() == []
    assert w.status["phase"] == "Training"


def test_3525_kuberay_itself_retries_nothing() -> None:
    spec = begun().store.get(begun().rayjob())["spec"]
    assert (spec["backoffLimit"], spec["submissionMode"]) == (0, "K8sJobMode")


def test_kueue_1844_only_the_rayjob_is_queued_not_its_pods() -> None:
    w = world(job(runtime={"queue": "gold"}))
    w.settle()
    made = w.store.get(w.rayjob())
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gold"
    assert "kueue" not in json.dumps(made["spec"])


def test_4914_status_checks_that_time_out_end_the_attempt_though_kuberay_never_retries() -> None:
    w = begun()
    w.kuberay("Failed", "RUNNING", reason="JobStatusCheckTimeoutExceeded")
    w.settle()
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2


def test_2154_the_submitters_command_is_kuberays_own_which_asks_before_it_submits() -> None:
    w = begun()
    template = w.store.get(w.rayjob())["spec"]["submitterPodTemplate"]
    assert "command" not in template["spec"]["containers"][0]


def test_1831_a_submitter_that_fails_is_tried_again_in_a_new_attempt() -> None:
    w = begun()
    w.kuberay("Failed", "PENDING", reason="SubmissionFailed", message="no route to host")
    w.settle()
    assert w.condition("Failed") == ("", "")
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2


def test_4285_submission_is_by_a_job_never_by_a_sidecar() -> None:
    assert begun().store.get(begun().rayjob())["spec"]["submissionMode"] == "K8sJobMode"


def test_3994_suspension_is_never_refused_for_the_cluster_always_goes_with_the_job() -> None:
    spec = begun().store.get(begun().rayjob())["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert "suspend" not in spec


def test_4416_a_suspended_rayjob_is_waited_for_without_a_write() -> None:
    w = begun()
    w.kuberay("Suspended")
    w.settle()
    assert (w.status["phase"], w.condition("Progressing")) == ("Pending", ("False", "Queued"))
    w.tick(3600)
    assert w.step() == []


def test_4178_initializing_has_an_end() -> None:
    w = begun(runtime={"startDeadlineSeconds": 77})
    assert w.store.get(w.rayjob())["spec"]["preRunningDeadlineSeconds"] == 77
    w.kuberay("Failed", "", reason="PreRunningDeadlineExceeded", message="still Initializing")
    w.settle()
    assert w.condition("Failed") == ("True", "RunFailed")
    assert w.status["lastFailure"]["class"] == "Unschedulable"


def test_stopped_ends_complete_and_is_no_success() -> None:
    w = begun()
    w.kuberay("Complete", "STOPPED")
    w.settle()
    assert w.condition("Complete") == ("", "")
    assert (w.condition("Progressing"), w.status["lastFailure"]["class"]) == (("True", "Retrying"), "Interrupted")


def test_succeeded_counts_only_when_kuberay_has_done() -> None:
    w = begun()
    w.driver("Succeeded", progress={"stage": "register"})
    w.kuberay("Running", "SUCCEEDED")
    w.settle()
    assert (w.status["phase"], w.condition("Complete")) == ("Registering", ("", ""))
    w.kuberay("Failed", "SUCCEEDED", reason="JobDeploymentStatusTransitionGracePeriodExceeded")
    w.settle()
    assert w.condition("Complete") == ("", "")
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2, "which finds all stages standing, and ends at once"


def test_validation_failed_never_heals_so_the_rayjob_is_made_anew() -> None:
    w = begun()
    first = w.store.get(w.rayjob())["metadata"]["uid"]
    w.kuberay("ValidationFailed", "RUNNING", reason="ValidationFailed", message="suspend needs shutdown")
    w.settle()
    assert w.names(RAY_JOBS) == [], "its cluster would run on for ever"
    assert "suspend needs shutdown" in w.status["lastFailure"]["message"]
    w.tick(40)
    w.settle()
    assert w.store.get(w.rayjob(2))["metadata"]["uid"] != first


def test_an_old_observed_generation_or_end_time_of_the_rayjob_means_nothing() -> None:
    w = begun()
    w.kuberay("Running", "RUNNING", observedGeneration=0, endTime="2020-01-01T00:00:00Z")
    w.settle()
    assert w.status["phase"] == "Training"


def test_an_end_time_of_long_ago_stops_no_clock() -> None:
    w = begun(runtime={"activeDeadlineSeconds": 60})
    w.kuberay("Running", "RUNNING", endTime="2020-01-01T00:00:00Z")
    w.tick(60)
    w.settle()
    assert w.condition("Progressing") == ("True", "Stopping")
    w.tick(120)
    w.settle()
    assert w.condition("Failed") == ("True", "DeadlineExceeded")


@pytest.mark.parametrize(
    ("ray", "reason"), [("FAILED", "AppFailed"), ("RUNNING", "SubmissionFailed"), ("PENDING", "SubmissionFailed")]
)
def test_a_verdict_of_no_ends_the_driver_with_a_failure_and_the_evaluation_complete(ray: str, reason: str) -> None:
    """Whatever KubeRay sees first, the driver's end or that of the submitter, which ends with its exit code."""
    w = world(evaluation())
    w.settle()
    w.run()
    passed = {"type": "Passed", "status": "False", "reason": "GateFailed", "message": "40 > 20",
              "lastTransitionTime": "2026-11-22T08:00:00Z"}  # fmt: skip
    w.driver("Succeeded", verdict="Failed", conditions=[passed])
    w.kuberay("Failed", ray, reason=reason)
    w.settle()
    assert w.condition("Complete") == ("True", "VerdictReached")
    assert (w.condition("Passed"), w.message("Passed")) == (("False", "GateFailed"), "40 > 20")
    assert (w.status["phase"], w.status["verdict"]) == ("Succeeded", "Failed")


DEPLOYMENT = ("", "Initializing", "Waiting", "Running", "Suspending", "Suspended", "Retrying", "Complete", "Failed",
              "ValidationFailed", "SomethingNew")  # fmt: skip
JOB = ("", "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED", "SOMETHING_NEW")
DOCUMENTS = {
    "none": None,
    "torn": '{"schema": 1, "kind": "Tra',
    "newer": '{"schema": 2, "kind": "TrainingJob"}',
    "at work": {"phase": "Training", "progress": {"stage": "train"}},
    "succeeded": {"phase": "Succeeded", "progress": {"stage": "register"}},
    "verdict no": {"phase": "Succeeded", "verdict": "Failed"},
    "failed for good": {"phase": "Failed", "lastFailure": failure("BadData")},
    "failed, try again": {"phase": "Failed", "lastFailure": failure("Storage", retryable=True)},
    "gate said no": {"phase": "Failed", "lastFailure": failure("GateFailed")},
    "stopped": {"phase": "Suspended", "lastFailure": failure("Interrupted")},
}
KINDS = {"TrainingJob": job, "EvaluationJob": evaluation}
NAMES = {"TrainingJob": "small", "EvaluationJob": "check"}


@pytest.mark.parametrize("suspend", [False, True], ids=["wanted", "suspended"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_status_never_says_what_the_children_contradict(kind: str, suspend: bool) -> None:
    w = world(KINDS[kind]())
    w.settle()
    w.run()
    seen = w.observation()
    spec = {**seen.parent["spec"], "suspend": suspend}
    seen = replace(seen, parent={**seen.parent, "spec": spec, "metadata": {**seen.parent["metadata"], "generation": 2}})
    for deployment, ray, written in itertools.product(DEPLOYMENT, JOB, DOCUMENTS):
        told = {"status": {"jobDeploymentStatus": deployment, "jobStatus": ray}}
        objects = {**seen.objects}
        objects[w.rayjob()] = {**objects[w.rayjob()], **told}
        objects[w.record()] = {**objects[w.record()], "data": _written(kind, DOCUMENTS[written])}
        actions = plan(replace(seen, objects=objects), SETTINGS)
        patches = [a.body for a in actions if isinstance(a, Patch) and a.subresource == "status"]
        status = functools.reduce(merge, patches, seen.parent)["status"]
        gone = any(isinstance(a, Delete) and a.key == w.rayjob() for a in actions)
        _hold(status, kind, deployment, ray, written, suspend, gone)


def _written(kind: str, document: Any) -> dict[str, str]:
    if isinstance(document, dict):
        phase = {"phase": "Running"} if kind == "EvaluationJob" and document["phase"] == "Training" else {}
        return {"status.json": json.dumps({"schema": 1, "kind": kind, "name": NAMES[kind], **document, **phase})}
    return {"status.json": document} if document else {}


def _hold(
    status: dict[str, Any], kind: str, deployment: str, ray: str, written: str, suspend: bool, gone: bool
) -> None:
    case = f"{kind}: KubeRay {deployment!r}, Ray {ray!r}, document {written!r}, suspend {suspend}: {status}"
    is_true = {one["type"]: one["status"] == "True" for one in status["conditions"]}
    complete, failed, suspended = (is_true.get(name, False) for name in ("Complete", "Failed", "Suspended"))
    over, phase = deployment in ("Complete", "Failed"), status["phase"]
    succeeded = (deployment, ray) == ("Complete", "SUCCEEDED")
    verdict_of_no = (deployment, written) == ("Failed", "verdict no") and ray in ("", "PENDING", "RUNNING", "FAILED")
    assert complete + failed + suspended + is_true["Progressing"] <= 1, case
    assert (complete, failed, suspended) == (phase == "Succeeded", phase == "Failed", phase == "Suspended"), case
    if complete:
        assert succeeded or (kind == "EvaluationJob" and verdict_of_no), case
        assert written not in ("failed for good", "failed, try again", "gate said no", "stopped"), case
    if succeeded and written == "succeeded":
        assert complete, case
    if failed:
        assert over, case
        assert written in ("failed for good", "gate said no"), case
    if suspended:
        assert suspend, case
        assert over or gone, case  # nothing that is there is still at work
    if phase not in ("Pending", "Succeeded", "Failed", "Suspended"):
        assert deployment == "Running", case
        assert ray not in ("", "PENDING", "SOMETHING_NEW"), case
    if not (complete or failed or suspended):
        assert is_true["Progressing"] or deployment in ("Suspending", "Suspended"), case
    if over and not (succeeded or verdict_of_no):
        assert phase != "Succeeded", case


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", ""])
def test_a_start_time_that_is_none_is_no_time_at_work(time: str) -> None:
    w = begun(runtime={"activeDeadlineSeconds": 60})
    w.kuberay("Running", "RUNNING", startTime=time)
    w.settle()
    assert w.condition("Progressing") == ("True", "Training")
