"""The stand-in's RayJob controller: one case for each row of KubeRay v1.7's state machine, and its oddities."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from support.kuberay.rayjobs import JobInfo, Submitter, World, next_state
from support.kuberay.samples import cluster_spec, group, rayjob
from support.kuberay.validation import rayjob_fault
from support.kuberay.vocabulary import (
    AddFinalizer,
    DropFinalizer,
    Make,
    Remove,
    StopJob,
    Submit,
    Tell,
    Write,
    WriteStatus,
    text_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
READY = {"metadata": {"name": "tiny-1-aaaaa", "namespace": "team"}, "status": {"state": "ready"}}
COMING = {**READY, "status": {}}
LEAVING = {**READY, "metadata": {**READY["metadata"], "deletionTimestamp": text_of(NOW)}}
STARTED = {"jobId": "tiny-1-bbbbb", "rayClusterName": "tiny-1-aaaaa", "startTime": text_of(NOW)}
URL = {"dashboardURL": "tiny-1-aaaaa-head-svc.team.svc.cluster.local:8265"}
JOB_DONE = Submitter(finished=NOW)
JOB_FAILED = Submitter(finished=NOW, failed=True, message="BackoffLimitExceeded")


def at(state: str, **fields: Any) -> dict[str, Any]:
    return {**STARTED, "jobDeploymentStatus": state, "failed": 0, "succeeded": 0, **fields}


def ray(status: str, submitter: Submitter | None = None, **fields: Any) -> World:
    return World(READY, {}, submitter or Submitter(), JobInfo(status, started=NOW, ended=fields.get("ended")))


@dataclass(frozen=True)
class Case:
    """`want` are fields of the status written ({}: no status write), `writes` the other writes' kinds in order."""

    name: str
    status: dict[str, Any]
    world: World
    want: dict[str, Any]
    writes: tuple[type, ...] = ()
    spec: dict[str, Any] = field(default_factory=dict)
    later: float = 0.0


WAITS = {"submissionMode": "InteractiveMode"}
HTTP = {"submissionMode": "HTTPMode"}
SIDECAR = {"submissionMode": "SidecarMode"}
LATE = "JobDeploymentStatusTransitionGracePeriodExceeded"
RAN = at("Running", jobStatus="RUNNING", rayClusterStatus={"state": "ready"}, **URL)
CASES = [
    Case("invalid, whatever the state", RAN, ray("RUNNING"), {"jobDeploymentStatus": "ValidationFailed",
         "reason": "ValidationFailed", "jobStatus": "RUNNING"}, (Tell,), {"suspend": True,
         "shutdownAfterJobFinishes": False}),
    Case("ValidationFailed never heals", at("ValidationFailed"), World(), {}),
    Case("new: names before anything is made", {}, World(), {"jobDeploymentStatus": "Initializing",
         "jobId": "tiny-1-00000", "rayClusterName": "tiny-1-00001", "startTime": text_of(NOW)}, (AddFinalizer,)),
    Case("new with a fixed id", {}, World(), {"jobId": "mine", "rayClusterName": "tiny-1-00000"}, (AddFinalizer,),
         {"jobId": "mine"}),
    Case("new on a cluster that is there", {}, World(), {"rayClusterName": "shared"}, (AddFinalizer,),
         {"clusterSelector": {"ray.io/cluster": "shared"}, "rayClusterSpec": None}),
    Case("new, interactive: no id yet", {}, World(), {"jobId": None}, (AddFinalizer,), WAITS),
    Case("new is suspended only in the next turn", {}, World(), {"jobDeploymentStatus": "Initializing"},
         (AddFinalizer,), {"suspend": True}),
    Case("initializing: suspended", at("Initializing"), World(), {"jobDeploymentStatus": "Suspending"}, (),
         {"suspend": True}),
    Case("initializing: makes the cluster, writes no status", at("Initializing"), World(), {}, (Make,)),
    Case("initializing: the cluster of a selector is not made", at("Initializing"), World(), {}, (Tell,),
         {"clusterSelector": {"ray.io/cluster": "shared"}, "rayClusterSpec": None}),
    Case("initializing: waits for the cluster", at("Initializing"), World(COMING), {}),
    Case("initializing: what the cluster says is copied", at("Initializing"), World({**READY,
         "status": {"head": {"podIP": "10.0.0.1"}}}), {"rayClusterStatus": {"head": {"podIP": "10.0.0.1"}},
         "jobDeploymentStatus": "Initializing"}),
    Case("initializing: submits when the cluster is ready", at("Initializing"), World(READY),
         {"jobDeploymentStatus": "Running", "jobStatus": None, **URL}, (Submit,)),
    Case("initializing, HTTP: running at once, nothing submitted yet", at("Initializing"), World(READY),
         {"jobDeploymentStatus": "Running"}, (), HTTP),
    Case("initializing, interactive: waits", at("Initializing"), World(READY), {"jobDeploymentStatus": "Waiting"}, (),
         WAITS),
    Case("initializing: active deadline", at("Initializing"), World(COMING), {"jobDeploymentStatus": "Failed",
         "reason": "DeadlineExceeded", "failed": 1, "endTime": text_of(NOW + timedelta(seconds=9))}, (),
         {"activeDeadlineSeconds": 9}, 9),
    Case("initializing: start deadline", at("Initializing"), World(COMING), {"jobDeploymentStatus": "Failed",
         "reason": "PreRunningDeadlineExceeded"}, (), {"preRunningDeadlineSeconds": 9}, 9),
    Case("initializing: start deadline is retried", at("Initializing"), World(COMING),
         {"jobDeploymentStatus": "Retrying", "reason": "PreRunningDeadlineExceeded", "failed": 1, "endTime": None},
         (), {"preRunningDeadlineSeconds": 9, "backoffLimit": 1}, 9),
    Case("initializing: active deadline is not retried", at("Initializing"), World(COMING),
         {"jobDeploymentStatus": "Failed", "failed": 1}, (), {"activeDeadlineSeconds": 9, "backoffLimit": 1}, 9),
    Case("waiting: for an id", at("Waiting", **URL), World(READY), {}, (), WAITS),
    Case("waiting: the active deadline does not count", at("Waiting", **URL), World(READY), {}, (), {**WAITS,
         "activeDeadlineSeconds": 9}, 9),
    Case("waiting: the start deadline does", at("Waiting", **URL), World(READY),
         {"reason": "PreRunningDeadlineExceeded"}, (), {**WAITS, "preRunningDeadlineSeconds": 9}, 9),
    Case("waiting: an id came", at("Waiting", **URL), World(READY), {"jobDeploymentStatus": "Running",
         "jobId": "mine"}, (), {**WAITS, "jobId": "mine"}),
    Case("running: suspended", RAN, ray("RUNNING"), {"jobDeploymentStatus": "Suspending", "jobStatus": "RUNNING"}, (),
         {"suspend": True}),
    Case("running: active deadline leaves jobStatus", RAN, ray("RUNNING"), {"jobDeploymentStatus": "Failed",
         "reason": "DeadlineExceeded", "jobStatus": "RUNNING"}, (), {"activeDeadlineSeconds": 9}, 9),
    Case("running: the start deadline is over", RAN, ray("RUNNING"), {}, (), {"preRunningDeadlineSeconds": 9}, 9),
    Case("running: Ray says running", at("Running", jobStatus="PENDING", **URL), ray("RUNNING"),
         {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}),
    Case("running: a new message alone is not written", RAN, World(READY, {}, Submitter(), JobInfo("RUNNING",
         "news")), {}),
    Case("running: done, but the submitter is not", RAN, ray("SUCCEEDED", ended=NOW),
         {"jobDeploymentStatus": "Running", "jobStatus": "SUCCEEDED", "endTime": None,
         "rayJobInfo": {"startTime": text_of(NOW), "endTime": text_of(NOW)}}),
    Case("running: done", RAN, ray("SUCCEEDED", JOB_DONE), {"jobDeploymentStatus": "Complete",
         "jobStatus": "SUCCEEDED", "succeeded": 1, "endTime": text_of(NOW)}),
    Case("running: STOPPED ends as Complete, and is no success", RAN, ray("STOPPED", JOB_DONE),
         {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED", "succeeded": 0, "reason": None}),
    Case("running: failed", RAN, ray("FAILED", JOB_DONE), {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED",
         "reason": "AppFailed", "failed": 1}),
    Case("running: failed, retried in the same write", RAN, ray("FAILED", JOB_DONE),
         {"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED", "failed": 1, "endTime": None}, (),
         {"backoffLimit": 1}),
    Case("running: retries are used up", {**RAN, "failed": 1}, ray("FAILED", JOB_DONE),
         {"jobDeploymentStatus": "Failed", "failed": 2}, (), {"backoffLimit": 1}),
    Case("running: the submitter failed before Ray said so", RAN, ray("RUNNING", JOB_FAILED),
         {"jobDeploymentStatus": "Failed", "reason": "SubmissionFailed", "jobStatus": "RUNNING"}),
    Case("running: the submitter failed because the job did", {**RAN, "jobStatus": "FAILED"}, ray("FAILED",
         JOB_FAILED), {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "jobStatus": "FAILED"}),
    Case("running: 30 s after the submitter KubeRay writes FAILED itself", RAN, ray("RUNNING", JOB_DONE),
         {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": LATE}, (), {}, 30),
    Case("running: 29 s after the submitter it does not", RAN, ray("RUNNING", JOB_DONE), {}, (), {}, 29),
    Case("running: unknown, submitter at it", RAN, World(READY, {}, Submitter()), {}),
    Case("running: unknown, submitter done", RAN, World(READY, {}, JOB_DONE), {"jobDeploymentStatus": "Failed",
         "reason": "AppFailed", "jobStatus": "RUNNING"}),
    Case("running, HTTP: unknown is submitted, again too", RAN, World(READY, {}), {}, (Submit,), HTTP),
    Case("running, sidecar: the head has gone", RAN, World(READY, None, Submitter()),
         {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": "Ray head pod not found."}, (), SIDECAR),
    Case("running, sidecar: exit code", RAN, World(READY, {}, JOB_FAILED, JobInfo("RUNNING")),
         {"reason": "SubmissionFailed"}, (), SIDECAR),
    Case("running: checks begin to fail", RAN, World(READY, {}, Submitter(), reachable=False),
         {"jobDeploymentStatus": "Running", "jobStatusCheckFailureStartTime": text_of(NOW)}),
    Case("running: checks fail on", {**RAN, "jobStatusCheckFailureStartTime": text_of(NOW)}, World(READY, {},
         Submitter(), reachable=False), {}, (), {}, 299),
    Case("running: checks failed for 300 s, never retried", {**RAN, "jobStatusCheckFailureStartTime": text_of(NOW)},
         World(READY, {}, Submitter(), reachable=False), {"jobDeploymentStatus": "Failed",
         "reason": "JobStatusCheckTimeoutExceeded"}, (), {"backoffLimit": 3}, 300),
    Case("running: checks succeed again", {**RAN, "jobStatusCheckFailureStartTime": text_of(NOW)}, ray("RUNNING"),
         {"jobStatusCheckFailureStartTime": None}),
    Case("running: 300 s after Ray's end", at("Running", jobStatus="SUCCEEDED", rayJobInfo={"endTime": text_of(NOW)}),
         ray("SUCCEEDED"), {"jobDeploymentStatus": "Complete", "reason": LATE, "succeeded": 1}, (), {}, 300),
    Case("running: 300 s after Ray's end, failed", at("Running", jobStatus="FAILED",
         rayJobInfo={"endTime": text_of(NOW)}), ray("FAILED"), {"jobDeploymentStatus": "Failed", "reason": LATE}, (),
         {}, 300),
    Case("running: a cluster that has gone is made anew", RAN, World(), {}, (Make,)),
    Case("suspending: deletes the cluster", at("Suspending"), World(READY), {}, (Remove,)),
    Case("suspending: waits until it has really gone", at("Suspending"), World(LEAVING), {}),
    Case("suspending goes on though the wish was taken back", at("Suspending", jobStatus="RUNNING", **URL), World(),
         {"jobDeploymentStatus": "Suspended", "jobStatus": None, "jobId": None, "rayClusterName": None,
         "dashboardURL": None, "startTime": text_of(NOW)}),
    Case("retrying: starts from New", at("Retrying", jobStatus="FAILED", reason="AppFailed", failed=1), World(),
         {"jobDeploymentStatus": None, "jobStatus": None, "reason": None, "failed": 1}),
    Case("suspended: stays", at("Suspended"), World(), {}, (), {"suspend": True}),
    Case("suspended: resumes as New", at("Suspended"), World(), {"jobDeploymentStatus": None}),
    Case("complete: the cluster goes, the RayJob stays", at("Complete", jobStatus="SUCCEEDED", endTime=text_of(NOW)),
         World(READY), {}, (Remove,)),
    Case("complete: not before its ttl", at("Complete", jobStatus="SUCCEEDED", endTime=text_of(NOW)), World(READY),
         {}, (), {"ttlSecondsAfterFinished": 9}, 8),
    Case("complete: after its ttl", at("Complete", jobStatus="SUCCEEDED", endTime=text_of(NOW)), World(READY), {},
         (Remove,), {"ttlSecondsAfterFinished": 9}, 9),
    Case("complete: without shutdown the cluster stays", at("Complete", endTime=text_of(NOW)), World(READY), {}, (),
         {"shutdownAfterJobFinishes": None}),
    Case("failed is not suspended any more", at("Failed", endTime=text_of(NOW)), World(), {}, (), {"suspend": True}),
    Case("another manager's", {}, World(), {}, (), {"managedBy": "kueue.x-k8s.io/multikueue"}),
]  # fmt: skip


def written(writes: list[Write]) -> dict[str, Any]:
    statuses = [write.status for write in writes if isinstance(write, WriteStatus)]
    return dict(statuses[0]) if statuses else {}


def turn(job: dict[str, Any], world: World, now: datetime = NOW) -> list[Write]:
    numbers = count()
    return next_state(job, world, now, lambda: f"{next(numbers):05}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_row_of_the_state_machine(case: Case) -> None:
    writes = turn(rayjob(status=case.status, **case.spec), case.world, NOW + timedelta(seconds=case.later))
    status = written(writes)
    assert bool(status) == bool(case.want), writes
    assert {key: status.get(key) for key in case.want} == case.want
    assert tuple(type(write) for write in writes if not isinstance(write, WriteStatus)) == case.writes


def test_the_status_is_written_last() -> None:
    writes = turn(rayjob(status=at("Initializing")), World(READY))
    assert [type(write) for write in writes] == [Submit, WriteStatus]


def test_observed_generation_is_never_written() -> None:
    for case in CASES:
        job = rayjob(status=case.status, **case.spec)
        job["metadata"]["generation"] = 4
        assert "observedGeneration" not in written(turn(job, case.world, NOW + timedelta(seconds=case.later)))


@pytest.mark.parametrize(
    ("job_status", "kinds"), [("RUNNING", [StopJob, DropFinalizer]), ("SUCCEEDED", [DropFinalizer])]
)
def test_deleting_stops_the_job_once_and_lets_go(job_status: str, kinds: list[type]) -> None:
    job = rayjob(status=at("Running", jobStatus=job_status))
    job["metadata"] |= {"deletionTimestamp": text_of(NOW), "finalizers": ["ray.io/rayjob-finalizer"]}
    assert [type(write) for write in turn(job, World(READY))] == kinds


def test_a_cluster_is_made_of_the_job() -> None:
    job = rayjob(status=at("Initializing"))
    (made,) = turn(job, World())
    assert isinstance(made, Make)
    metadata = made.item["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert metadata["name"] == "tiny-1-aaaaa"
    assert metadata["labels"] == {
        "modelyard.dev/name": "tiny", "ray.io/originated-from-cr-name": "tiny-1",
        "ray.io/originated-from-crd": "RayJob", "ray.io/job-submission-mode": "K8sJobMode",
    }  # fmt: skip
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("RayJob", "u", True)
    assert made.item["spec"] == job["spec"]["rayClusterSpec"]


def worker(**fields: Any) -> dict[str, Any]:
    return {"workerGroupSpecs": [{**group("workers"), **fields}]}


def head(**pod: Any) -> dict[str, Any]:
    spec = group()
    spec["template"]["spec"] |= pod
    return {"headGroupSpec": spec}


REFUSED = {
    "no more than 47": {"name": "a" * 48},
    "DNS1035": {"name": "1tiny"},
    "not allowed to be suspended": {"suspend": True, "shutdownAfterJobFinishes": False},
    "cannot have TTLSecondsAfterFinished": {"ttlSecondsAfterFinished": 5, "shutdownAfterJobFinishes": False},
    "doesn't support the suspend": {"suspend": True, "clusterSelector": {"ray.io/cluster": "a"}},
    "one of RayClusterSpec or ClusterSelector": {"rayClusterSpec": None},
    "should not be empty": {"clusterSelector": {"ray.io/cluster": ""}},
    "not supported in SidecarMode": {"clusterSelector": {"ray.io/cluster": "a"}, **SIDECAR},
    "incompatible with ClusterSelector": {"clusterSelector": {"ray.io/cluster": "a"}, "backoffLimit": 1},
    "incompatible with InteractiveMode": {"backoffLimit": 1, **WAITS},
    "support submitterPodTemplate": {"submitterPodTemplate": {}, **SIDECAR},
    "Never or unset when using SidecarMode": {"rayClusterSpec": cluster_spec(**head(restartPolicy="Always")),
         **SIDECAR},
    "activeDeadlineSeconds must": {"activeDeadlineSeconds": 0},
    "backoffLimit must": {"backoffLimit": -1},
    "RuntimeEnvYAML": {"runtimeEnvYAML": "a: [b"},
    "at least one container": {"rayClusterSpec": cluster_spec(**head(containers=[]))},
    "must set both": {"rayClusterSpec": cluster_spec(**worker(minReplicas=None))},
    "greater than": {"rayClusterSpec": cluster_spec(**worker(minReplicas=3))},
    "both rayStartParams and Resources": {"rayClusterSpec": cluster_spec(**worker(resources={"cpu": "1"},
         rayStartParams={"num-cpus": "1"}))},
    "rayStartParams['labels']": {"rayClusterSpec": cluster_spec(**worker(rayStartParams={"labels": "a=b"}))},
    "cannot be suspended with Autoscaler": {"rayClusterSpec": cluster_spec(enableInTreeAutoscaling=True,
         **worker(suspend=True))},
    "when using autoscaler V2": {"rayClusterSpec": cluster_spec(enableInTreeAutoscaling=True,
         **head(restartPolicy="Always"))},
    "RayVersion was not specified": {"rayClusterSpec": cluster_spec(rayVersion="", authOptions={"mode": "token"})},
    "minimum Ray version": {"rayClusterSpec": cluster_spec(rayVersion="2.51.9", authOptions={"mode": "token"})},
    "upgradeStrategy cannot be set": {"rayClusterSpec": cluster_spec(upgradeStrategy={"type": "None"})},
}  # fmt: skip


@pytest.mark.parametrize(("words", "fields"), REFUSED.items(), ids=REFUSED)
def test_what_the_schema_lets_pass_and_kuberay_does_not(words: str, fields: dict[str, Any]) -> None:
    assert words in rayjob_fault(rayjob(**fields))


def test_what_our_operator_writes_is_not_refused() -> None:
    spec = cluster_spec(authOptions={"mode": "token"}, enableInTreeAutoscaling=True)
    job = rayjob(name="a" * 47, rayClusterSpec=spec, preRunningDeadlineSeconds=3600, backoffLimit=0, suspend=True)
    assert rayjob_fault(job) == ""
