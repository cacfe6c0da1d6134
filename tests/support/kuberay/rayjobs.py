"""The RayJob controller of KubeRay v1.7 as a pure function: a RayJob, what is around it, the clock → what it would do.

Written from the behaviour of its state machine, its oddities included. Not played: deletionStrategy, batch schedulers,
the restart gate of SidecarMode. The submitter's batch Job is a value here, never an object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard_operator.kinds.objects import RAY_CLUSTERS, Json, ObjectKey
from support.kuberay.rayclusters import cluster_of_job
from support.kuberay.validation import mode_of, rayjob_fault
from support.kuberay.vocabulary import (
    EXTERNAL_MANAGER,
    JOB_FINALIZER,
    TERMINAL_DEPLOYMENT,
    TERMINAL_JOB,
    AddFinalizer,
    DropFinalizer,
    Make,
    Names,
    Remove,
    StopJob,
    Submit,
    Tell,
    Write,
    WriteStatus,
    text_of,
    time_of,
    without_empty,
)

TRANSITION_GRACE = timedelta(seconds=300)  # RAYJOB_DEPLOYMENT_STATUS_TRANSITION_GRACE_PERIOD_SECONDS
CHECK_TIMEOUT = timedelta(seconds=300)  # RAYJOB_STATUS_CHECK_TIMEOUT_SECONDS
SUBMITTER_GRACE = timedelta(seconds=30)
NEVER_RETRIED = frozenset({"DeadlineExceeded", "JobStatusCheckTimeoutExceeded"})


@dataclass(frozen=True)
class Submitter:
    """The submitter's batch Job, or the sidecar in the head Pod."""

    finished: datetime | None = None
    failed: bool = False
    message: str = ""


@dataclass(frozen=True)
class JobInfo:
    """What the dashboard says of a job."""

    status: str
    message: str = ""
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True)
class World:
    """What the controller sees around a RayJob. `info` None: the dashboard does not know the job."""

    cluster: Json | None = None
    head_pod: Json | None = None
    submitter: Submitter | None = None
    info: JobInfo | None = None
    reachable: bool = True


@dataclass(frozen=True)
class _Move:
    """What one state wants. `status` None: back to the queue, nothing is written to the status."""

    status: dict[str, Any] | None = None
    writes: tuple[Write, ...] = field(default=())


def next_state(rayjob: Json, world: World, now: datetime, names: Names) -> list[Write]:
    """One reconcile: the writes it makes, in order; an empty list when it rests."""
    if rayjob["spec"].get("managedBy") == EXTERNAL_MANAGER:
        return []
    if "deletionTimestamp" in rayjob["metadata"]:
        return _finish(rayjob)
    status: dict[str, Any] = dict(rayjob.get("status", {}))
    if fault := rayjob_fault(rayjob):
        failed = {**status, "jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed", "message": fault}
        return [Tell("Warning", "InvalidRayJobSpec", fault), *_write(status, failed, now)]
    play = _STATES.get(status.get("jobDeploymentStatus", ""))
    if play is None:  # ValidationFailed: no case in the switch, though the spec be mended
        return []
    move = play(_Turn(rayjob, status, world, now, names))
    if move.status is None:
        return list(move.writes)
    return [*move.writes, *_write(status, _counted(rayjob["spec"], move.status), now)]


@dataclass(frozen=True)
class _Turn:
    rayjob: Json
    status: dict[str, Any]
    world: World
    now: datetime
    names: Names

    @property
    def spec(self) -> Json:
        spec: Json = self.rayjob["spec"]
        return spec

    @property
    def cluster_key(self) -> ObjectKey:
        return ObjectKey(RAY_CLUSTERS, self.rayjob["metadata"]["namespace"], self.status.get("rayClusterName", ""))

    def passed(self, deadline: str) -> bool:
        """Whether a deadline of this attempt (from startTime) is over."""
        seconds = self.spec.get(deadline)
        return seconds is not None and self.now >= time_of(self.status["startTime"]) + timedelta(seconds=seconds)

    def failed(self, reason: str, message: str) -> _Move:
        return _Move({**self.status, "jobDeploymentStatus": "Failed", "reason": reason, "message": message})


def _finish(rayjob: Json) -> list[Write]:
    if JOB_FINALIZER not in rayjob["metadata"].get("finalizers", ()):
        return []
    status = rayjob.get("status", {})
    stop = [] if status.get("jobStatus", "") in TERMINAL_JOB else [StopJob(status.get("jobId", ""))]
    return [*stop, DropFinalizer(JOB_FINALIZER)]  # the finalizer goes whether stopping worked or not


def _new(turn: _Turn) -> _Move:
    """Names first, durably; whatever carries them is made in the next turn."""
    spec, name = turn.spec, turn.rayjob["metadata"]["name"]
    writes = () if JOB_FINALIZER in turn.rayjob["metadata"].get("finalizers", ()) else (AddFinalizer(JOB_FINALIZER),)
    job_id = turn.status.get("jobId") or spec.get("jobId") or f"{name}-{turn.names()}"
    selected = spec.get("clusterSelector", {}).get("ray.io/cluster")
    started = {
        "jobId": "" if mode_of(turn.rayjob) == "InteractiveMode" else job_id,
        "rayClusterName": turn.status.get("rayClusterName") or selected or f"{name}-{turn.names()}",
        "jobDeploymentStatus": "Initializing",
        "startTime": text_of(turn.now),
    }
    return _Move({**turn.status, **started}, writes)


def _initializing(turn: _Turn) -> _Move:
    if early := _suspended_or_late(turn, "activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        return early
    cluster = turn.world.cluster
    if cluster is None:
        return _Move(turn.status, _making(turn))
    status = dict(turn.status)
    if not status.get("dashboardURL"):
        if cluster.get("status", {}).get("state") != "ready":
            return _Move({**status, "rayClusterStatus": cluster.get("status", {})})
        metadata = cluster["metadata"]
        status["dashboardURL"] = f"{metadata['name']}-head-svc.{metadata['namespace']}.svc.cluster.local:8265"
    mode = mode_of(turn.rayjob)
    if mode == "InteractiveMode":
        return _Move({**status, "jobDeploymentStatus": "Waiting"})
    submits = (Submit(status["jobId"]),) if mode != "HTTPMode" else ()
    return _Move({**status, "jobDeploymentStatus": "Running"}, submits)


def _making(turn: _Turn) -> tuple[Write, ...]:
    if turn.spec.get("clusterSelector"):
        return (Tell("Warning", "RayClusterNotFound", f"RayCluster {turn.cluster_key.name} is not found"),)
    return (Make(cluster_of_job(turn.rayjob, turn.cluster_key.name)),)


def _suspended_or_late(turn: _Turn, *deadlines: str) -> _Move | None:
    if turn.spec.get("suspend") and "activeDeadlineSeconds" in deadlines:
        return _Move({**turn.status, "jobDeploymentStatus": "Suspending"})
    for deadline in deadlines:
        if turn.passed(deadline):
            reason = {"a": "DeadlineExceeded", "p": "PreRunningDeadlineExceeded"}[deadline[0]]
            return turn.failed(reason, f"The RayJob has passed the {deadline}. StartTime: {turn.status['startTime']}")
    return None


def _waiting(turn: _Turn) -> _Move:
    if late := _suspended_or_late(turn, "preRunningDeadlineSeconds"):
        return late
    if not turn.spec.get("jobId"):
        return _Move()
    return _Move({**turn.status, "jobId": turn.spec["jobId"], "jobDeploymentStatus": "Running"})


def _running(turn: _Turn) -> _Move:
    if early := _suspended_or_late(turn, "activeDeadlineSeconds") or _grace_over(turn) or _checks_over(turn):
        return early
    if turn.world.cluster is None:  # made anew under the same name; what the job was is lost with the old one
        return _Move(None, _making(turn))
    if _has_submitter(turn) and (early := _from_submitter(turn)):
        return early
    if not turn.world.reachable:
        since = turn.status.get("jobStatusCheckFailureStartTime")
        return _Move() if since else _Move({**turn.status, "jobStatusCheckFailureStartTime": text_of(turn.now)})
    if turn.world.info is None:
        return _unknown_job(turn)
    return _from_ray(turn, turn.world.info, turn.world.cluster)


def _has_submitter(turn: _Turn) -> bool:
    return mode_of(turn.rayjob) in {"K8sJobMode", "SidecarMode"}


def _finished(turn: _Turn) -> datetime | None:
    return turn.world.submitter.finished if turn.world.submitter is not None else None


def _grace_over(turn: _Turn) -> _Move | None:
    job, ended = turn.status.get("jobStatus", ""), turn.status.get("rayJobInfo", {}).get("endTime")
    if job not in TERMINAL_JOB or not ended or turn.now < time_of(ended) + TRANSITION_GRACE:
        return None
    message = "JobDeploymentStatus does not transition to Complete or Failed within the grace period"
    state = "Failed" if job == "FAILED" else "Complete"
    reason = "JobDeploymentStatusTransitionGracePeriodExceeded"
    return _Move({**turn.status, "jobDeploymentStatus": state, "reason": reason, "message": message})


def _checks_over(turn: _Turn) -> _Move | None:
    since = turn.status.get("jobStatusCheckFailureStartTime")
    if not since or turn.now < time_of(since) + CHECK_TIMEOUT:
        return None
    return turn.failed("JobStatusCheckTimeoutExceeded", f"Job status checks have been failing since {since}")


def _from_submitter(turn: _Turn) -> _Move | None:
    if mode_of(turn.rayjob) == "SidecarMode" and turn.world.head_pod is None:
        return turn.failed("AppFailed", "Ray head pod not found.")
    submitter = turn.world.submitter
    if submitter is None:
        return _Move()  # its batch Job cannot be read: an error, tried again
    if submitter.finished is not None and turn.now >= submitter.finished + SUBMITTER_GRACE:
        reason = "JobDeploymentStatusTransitionGracePeriodExceeded"
        late = turn.failed(reason, "The RayJob submitter finished but the ray job did not reach terminal state")
        return _Move({**(late.status or {}), "jobStatus": "FAILED"})
    if not submitter.failed:
        return None
    if turn.status.get("jobStatus") == "FAILED":
        return _Move({**turn.status, "jobDeploymentStatus": "Failed", "reason": "AppFailed"})
    return turn.failed("SubmissionFailed", f"Job submission has failed. {submitter.message}".rstrip())


def _unknown_job(turn: _Turn) -> _Move:
    if mode_of(turn.rayjob) == "HTTPMode":  # this is how that mode submits; after a head's restart it submits again
        cleared = {key: value for key, value in turn.status.items() if key != "jobStatusCheckFailureStartTime"}
        return _Move(cleared if cleared != turn.status else None, (Submit(turn.status["jobId"]),))
    if _finished(turn) is not None:
        return turn.failed("AppFailed", "Submitter completed but Ray job not found in RayCluster.")
    return _Move()


def _from_ray(turn: _Turn, info: JobInfo, cluster: Json) -> _Move:
    ended = info.status in TERMINAL_JOB and (not _has_submitter(turn) or _finished(turn) is not None)
    state, reason = "Running", ""
    if ended:
        state, reason = ("Failed", "AppFailed") if info.status == "FAILED" else ("Complete", "")
    times = {"startTime": info.started, "endTime": info.ended}
    seen = {
        "rayClusterStatus": cluster.get("status", {}), "jobStatus": info.status, "jobDeploymentStatus": state,
        "reason": reason, "message": info.message, "jobStatusCheckFailureStartTime": None,
        "rayJobInfo": {key: text_of(value) for key, value in times.items() if value is not None},
    }  # fmt: skip
    return _Move({**turn.status, **seen})


def _releasing(turn: _Turn) -> _Move:
    """Suspending, Retrying: the cluster has to be really gone; the job is not stopped gracefully before."""
    cluster = turn.world.cluster
    if cluster is not None and not turn.spec.get("clusterSelector"):
        return _Move(None, () if "deletionTimestamp" in cluster["metadata"] else (Remove(turn.cluster_key),))
    state = "Suspended" if turn.status["jobDeploymentStatus"] == "Suspending" else ""
    return _Move({**{key: turn.status[key] for key in _KEPT if key in turn.status}, "jobDeploymentStatus": state})


_KEPT = ("startTime", "endTime", "succeeded", "failed")


def _suspended(turn: _Turn) -> _Move:
    return _Move() if turn.spec.get("suspend") else _Move({**turn.status, "jobStatus": "", "jobDeploymentStatus": ""})


def _ended(turn: _Turn) -> _Move:
    """Only the clean-up is left: the cluster goes after the ttl, the RayJob stays."""
    cluster, spec = turn.world.cluster, turn.spec
    if cluster is None or spec.get("clusterSelector") or not spec.get("shutdownAfterJobFinishes"):
        return _Move()
    due = time_of(turn.status["endTime"]) + timedelta(seconds=spec.get("ttlSecondsAfterFinished", 0))
    if turn.now < due or "deletionTimestamp" in cluster["metadata"]:
        return _Move()
    return _Move(None, (Remove(turn.cluster_key),))


_STATES: dict[str, Callable[[_Turn], _Move]] = {
    "": _new, "Initializing": _initializing, "Waiting": _waiting, "Running": _running, "Suspending": _releasing,
    "Retrying": _releasing, "Suspended": _suspended, "Complete": _ended, "Failed": _ended,
}  # fmt: skip


def _counted(spec: Json, status: dict[str, Any]) -> dict[str, Any]:
    """Attempts counted; a failure that may be retried becomes Retrying in this very write."""
    state, limit = status.get("jobDeploymentStatus", ""), spec.get("backoffLimit")
    failed = status.get("failed", 0) + (state == "Failed")
    succeeded = status.get("succeeded", 0) + (state == "Complete" and status.get("jobStatus") == "SUCCEEDED")
    again = state == "Failed" and limit is not None and failed < limit + 1 and status["reason"] not in NEVER_RETRIED
    return {
        **status, "failed": failed, "succeeded": succeeded, "jobDeploymentStatus": "Retrying" if again else state,
    }  # fmt: skip


def _write(old: Json, new: dict[str, Any], now: datetime) -> list[Write]:
    """A status is written only when one of four fields moved: a new message or URL alone is not."""
    deciding = ("jobStatus", "jobDeploymentStatus", "jobStatusCheckFailureStartTime")
    moved = any((old.get(key) or "") != (new.get(key) or "") for key in deciding)
    if not moved and _seen(old) == _seen(new):
        return []
    ended = {"endTime": text_of(now)} if new["jobDeploymentStatus"] in TERMINAL_DEPLOYMENT else {}
    return [WriteStatus(without_empty({**new, **ended}))]


def _seen(status: Json) -> dict[str, Any]:
    cluster: Json = status.get("rayClusterStatus") or {}
    return {key: value for key, value in cluster.items() if key != "lastUpdateTime"}
