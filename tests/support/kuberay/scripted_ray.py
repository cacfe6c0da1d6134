"""Ray and the nodes by script: see `scripts`. Everything is a function of the script and the clock."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from modelyard_operator.cluster.api import Cluster, NotFoundError
from modelyard_operator.kinds.names import CONTROL_KEY, INDEX_KEY, NAME_LABEL, STATUS_KEY, index_name
from modelyard_operator.kinds.objects import CONFIG_MAPS, RAY_CLUSTERS, Json, ObjectKey, uid_of
from modelyard_operator.kinds.observations import Probe
from support.kuberay import pods
from support.kuberay.autoscaling import applications, autoscale
from support.kuberay.outcomes import DashboardError
from support.kuberay.rayjobs import JobInfo, Submitter
from support.kuberay.scripts import Attempt, Fault, Moment, Script, Serving
from support.kuberay.vocabulary import FROM_KIND_LABEL, FROM_NAME_LABEL, GROUP_LABEL, TERMINAL_JOB, time_of

SUBMITTER_LAG = timedelta(seconds=1)
_STATUS_OPTION = re.compile(r"--status-configmap[ =](\S+)")
_VERSION = re.compile(r"\b[a-z0-9](?:[-a-z0-9]*[a-z0-9])?@\d+\b")
_WAITS = {
    "image": ("ImagePullBackOff", 'Back-off pulling image "nowhere/none:1"'),
    "config": ("CreateContainerConfigError", 'secret "hf-token" not found'),
    "mount": ("ContainerCreating", ""),
}


@dataclass
class _Job:
    """A job that was submitted; `told` of its moments' documents are written; `stop_seen` when the driver saw it."""

    cluster: str
    namespace: str
    status_name: str
    attempt: Attempt
    submitted: datetime
    told: int = 0
    stop_seen: datetime | None = None

    def past(self, now: datetime) -> list[Moment]:
        """The moments that have come, the driver's stopping included."""
        came = [moment for moment in self.attempt.moments if self.submitted + timedelta(seconds=moment.after) <= now]
        ended = self.stopped()
        if ended is None or now < ended:
            return came
        after = (ended - self.submitted).total_seconds()
        words = "Job entrypoint command failed with exit code 143"
        return [m for m in came if m.after < after] + [
            Moment(after, job="FAILED", message=words, document=self.attempt.suspended)
        ]

    def stopped(self) -> datetime | None:
        """When the driver is done with stopping; None while nobody asked, or when it had ended before."""
        if self.stop_seen is None or self.attempt.stops_after is None:
            return None
        return self.stop_seen + timedelta(seconds=self.attempt.stops_after)

    def at(self, moment: Moment) -> datetime:
        return self.submitted + timedelta(seconds=moment.after)


@dataclass
class _Served:
    """A cluster that was given a Serve configuration."""

    key: ObjectKey
    config: str
    given: datetime
    serving: Serving

    @property
    def version(self) -> str:
        return _version(self.config)

    def state(self, now: datetime) -> tuple[str, bool]:
        passed = [entry for entry in self.serving.moments if self.given + timedelta(seconds=entry[0]) <= now]
        return passed[-1][1:]


@dataclass
class ScriptedRay:
    """See `outcomes.Ray`. `submissions` counts how often an entrypoint was started, by job id."""

    script: Script = field(default_factory=Script)
    submissions: Counter[str] = field(default_factory=Counter)
    _clusters: dict[str, Attempt] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _served: dict[str, _Served] = field(default_factory=dict)
    _struck: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def _attempt(self, cluster: Json) -> Attempt:
        """Drawn when the cluster is first seen."""
        uid = uid_of(cluster)
        if uid not in self._clusters:
            name = _name(cluster)
            self._clusters[uid] = self.script.attempt(name, self._numbers[name])
            self._numbers[name] += 1
        return self._clusters[uid]

    def pod_status(self, pod: Json, cluster: Json, now: datetime) -> dict[str, Any]:
        """By age, by what the attempt's moments do to its group; of a service's worker also by its proxy."""
        if cluster["metadata"]["labels"].get(FROM_KIND_LABEL) == "RayService":
            attempt = Attempt()
        else:
            attempt = self._attempt(cluster)
        group, born = pod["metadata"]["labels"][GROUP_LABEL], time_of(pod["metadata"]["creationTimestamp"])
        if attempt.never is not None and attempt.never.strikes(group):
            return _befallen(pod, attempt.never, now)
        if now < born + timedelta(seconds=attempt.ready_after):
            return pods.starting(pod, now)
        for job in self._jobs.values():
            if job.cluster == uid_of(cluster):
                for number, moment in enumerate(job.past(now)):
                    if moment.fault is not None and moment.fault.strikes(group) and born <= job.at(moment):
                        return self._strike(pod, number, moment.fault, now)
        ready = pods.is_head(pod) or pod["metadata"]["labels"].get("ray.io/serve") is None or self.serves(cluster, now)
        return pods.running(pod, now, ready=ready)

    def _strike(self, pod: Json, number: int, fault: Fault, now: datetime) -> dict[str, Any]:
        place = (uid_of(pod), number)
        if place not in self._struck:
            self._struck[place] = _befallen(pod, fault, now)
        return self._struck[place]

    async def submit(self, rayjob: Json, cluster: Json, job_id: str, now: datetime) -> None:
        """Start the entrypoint by script."""
        if job_id in self._jobs:
            return
        self.submissions[job_id] += 1
        found = _STATUS_OPTION.search(rayjob["spec"].get("entrypoint", ""))
        name = found.group(1).strip("'\"") if found else ""
        attempt = self._attempt(cluster)
        self._jobs[job_id] = _Job(uid_of(cluster), rayjob["metadata"]["namespace"], name, attempt, now)

    def submitter(self, cluster: Json, job_id: str, now: datetime) -> Submitter | None:
        """As the script says; else it ends a second after the job, with its outcome."""
        job = self._jobs.get(job_id)
        if job is None:
            return None
        past = job.past(now)
        said = next((moment for moment in reversed(past) if moment.submitter is not None), None)
        if said is not None:
            ended = None if said.submitter == "running" else job.at(said)
            return Submitter(ended, said.submitter == "failed", "BackoffLimitExceeded" if ended else "")
        last = _ending(past)
        if last is None or now < job.at(last) + SUBMITTER_LAG:
            return Submitter()
        return Submitter(job.at(last) + SUBMITTER_LAG, failed=last.job == "FAILED")

    def job(self, cluster: Json, job_id: str, now: datetime) -> JobInfo | None:
        """By the moments that have come; unknown once the cluster is another one."""
        job = self._jobs.get(job_id)
        if job is None or job.cluster != uid_of(cluster):
            return None
        past = job.past(now)
        if not _last(past, "reachable", True):
            raise DashboardError(job_id)
        status = _last(past, "job", None)
        if status is None or not _last(past, "known", True):
            return None
        ending = _ending(past)
        message = next((moment.message for moment in reversed(past) if moment.message), "")
        return JobInfo(status, message, job.submitted, None if ending is None else job.at(ending))

    async def stop(self, job_id: str) -> None:
        """Its moments end here."""
        if job_id in self._jobs:
            job = self._jobs[job_id]
            job.attempt = replace(job.attempt, moments=job.attempt.moments[: max(job.told, 1)])

    async def advance(self, cluster: Cluster, now: datetime) -> None:
        """Drivers write what their moments say and look for `control: stop`; the autoscaler counts."""
        for job in self._jobs.values():
            if job.cluster in self._clusters:
                await self._drive(cluster, job, now)
        for served in self._served.values():
            await autoscale(cluster, served.key, served.config)

    async def _drive(self, cluster: Cluster, job: _Job, now: datetime) -> None:
        if job.stop_seen is None and _ending(job.past(now)) is None and await _told_to_stop(cluster, job):
            job.stop_seen = now
        past = job.past(now)
        for moment in past[job.told :]:
            with suppress(NotFoundError):
                await _tell(cluster, job, moment)
        job.told = len(past)

    async def serve(self, cluster: Json, config: str, now: datetime) -> None:
        """A configuration that says the same goes on as it is."""
        uid, metadata = uid_of(cluster), cluster["metadata"]
        if uid in self._served and self._served[uid].config == config:
            return
        if uid in self._served and _version(config) == self._served[uid].version:  # scaled, not another model
            self._served[uid].config = config
            return
        key = ObjectKey(RAY_CLUSTERS, metadata["namespace"], metadata["name"])
        self._served[uid] = _Served(key, config, now, self.script.serving(_version(config)))

    def applications(self, cluster: Json, now: datetime) -> Mapping[str, Json] | None:
        """One entry for each application of the configuration."""
        served = self._served.get(uid_of(cluster))
        if served is None:
            return {}
        status, _ = served.state(now)
        message = served.serving.message if status in ("DEPLOY_FAILED", "UNHEALTHY") else ""
        state = {"RUNNING": "HEALTHY", "DEPLOYING": "UPDATING"}.get(status, "UNHEALTHY")
        names = [entry["name"] for entry in applications(served.config)]
        deployments = {"serveDeploymentStatuses": {"replica": {"status": state}}}
        return {name: {"status": status, **({"message": message} if message else {}), **deployments} for name in names}

    def serves(self, cluster: Json, now: datetime) -> bool:
        """Proxies live as soon as an application runs, whatever its health."""
        served = self._served.get(uid_of(cluster))
        return served is not None and served.state(now)[0] in ("RUNNING", "UNHEALTHY")

    async def ask(self, cluster: Json, url: str, now: datetime) -> Probe:
        """The health that the script gives the version."""
        served = self._served.get(uid_of(cluster))
        healthy = served is not None and served.state(now)[1]
        return Probe(url, healthy, served.version if served and healthy else "", "" if healthy else "HTTP 503")

    async def gone(self, cluster_uid: str) -> None:
        """Its jobs end, its applications too."""
        self._clusters.pop(cluster_uid, None)
        self._served.pop(cluster_uid, None)


def _befallen(pod: Json, fault: Fault, now: datetime) -> dict[str, Any]:
    match fault.kind:
        case "unschedulable":
            return pods.unschedulable(pod, now)
        case "oom":
            return pods.ended(pod, now, "OOMKilled", 137)
        case "crash":
            return pods.ended(pod, now, "Error", 1)
        case "evicted":
            return pods.evicted(pod, now)
        case "preempted":
            return pods.preempted(pod, now)
        case _:
            return pods.waiting(pod, now, *_WAITS[fault.kind])


def _name(cluster: Json) -> str:
    labels = cluster["metadata"]["labels"]
    name: str = labels.get(NAME_LABEL) or labels[FROM_NAME_LABEL]
    return name


def _version(config: str) -> str:
    found = _VERSION.search(config)
    return found.group(0) if found else ""


def _last(past: list[Moment], name: str, default: Any) -> Any:
    return next((value for moment in reversed(past) if (value := getattr(moment, name)) is not None), default)


def _ending(past: list[Moment]) -> Moment | None:
    return next((moment for moment in past if moment.job in TERMINAL_JOB), None)


async def _told_to_stop(cluster: Cluster, job: _Job) -> bool:
    if not job.status_name or job.attempt.stops_after is None:
        return False
    try:
        item = await cluster.get(ObjectKey(CONFIG_MAPS, job.namespace, job.status_name))
    except NotFoundError:
        return False
    return bool(item.get("data", {}).get(CONTROL_KEY) == "stop")


async def _tell(cluster: Cluster, job: _Job, moment: Moment) -> None:
    """As the driver does: patches of what is there."""
    for model, index in moment.index.items():
        key = ObjectKey(CONFIG_MAPS, job.namespace, index_name(model))
        await cluster.patch(key, {"data": {INDEX_KEY: json.dumps(index)}})
    if moment.document is not None and job.status_name:
        text = moment.document if isinstance(moment.document, str) else json.dumps(dict(moment.document))
        key = ObjectKey(CONFIG_MAPS, job.namespace, job.status_name)
        await cluster.patch(key, {"data": {STATUS_KEY: text}})
