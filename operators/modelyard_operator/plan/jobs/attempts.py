"""The attempts of a job as they stand: RayJob, status ConfigMap with ledger and document, clusters, pods."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from modelyard_operator.kinds.names import CONTROL_KEY, child_name, status_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    PODS,
    RAY_CLUSTERS,
    RAY_JOBS,
    Json,
    ObjectKey,
    controller_uid,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan.jobs.documents import Report, report_of
from modelyard_operator.plan.jobs.ledger import Ledger, ledger_of
from modelyard_operator.plan.pods import PodFact, pod_fact
from modelyard_operator.plan.reading import listed, moment, text, whole

_STATUS = "-status"
_NOT_AT_WORK = ("", "Suspended")


@dataclass(frozen=True)
class Attempt:
    """One attempt. `record` is its status ConfigMap; `number` 0 stands for none.

    `told_commit` and `told_failure` are what the job's status tells already: the first is there when the driver's
    document is torn.
    """

    number: int
    rayjob: Json | None = None
    record: Json | None = None
    ledger: Ledger = field(default_factory=Ledger)
    report: Report = field(default_factory=Report)
    told_commit: int = 0
    told_failure: str = ""
    clusters: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()

    @property
    def job_status(self) -> str:
        """What Ray says."""
        return text(self.rayjob, "status", "jobStatus")

    @property
    def deployment_status(self) -> str:
        """What KubeRay's state machine says."""
        return text(self.rayjob, "status", "jobDeploymentStatus")

    @property
    def ended_by_kuberay(self) -> bool:
        """Whether KubeRay has done with the RayJob, and takes its cluster down."""
        return self.deployment_status in ("Complete", "Failed")

    @property
    def leaving(self) -> bool:
        """Whether the RayJob is being deleted."""
        return bool(text(self.rayjob, "metadata", "deletionTimestamp"))

    @property
    def fact(self) -> PodFact | None:
        """What its pods tell now."""
        return pod_fact(self.pods, self.told_failure)

    @property
    def control(self) -> str:
        """What the driver is told; empty: nothing."""
        return text(self.record, "data", CONTROL_KEY)

    @property
    def told_to_stop(self) -> bool:
        """Whether the driver stands asked to commit and stop, since `ledger.stop_asked`."""
        return self.control == "stop" and self.ledger.stop_asked is not None

    def committed(self) -> int:
        """The step of the newest commit that is known of."""
        document = self.report.document
        step = document.checkpoint.step if document and document.checkpoint else 0
        return max(step, self.told_commit, self.ledger.committed)

    @property
    def began(self) -> datetime | None:
        """When the spell at work began; None while nothing is at work."""
        # KubeRay leaves old times where they are: a RayJob that a queue holds, or has just let go, has a start time.
        return None if self.deployment_status in _NOT_AT_WORK else moment(self.rayjob, "status", "startTime")

    @property
    def submitted_since(self) -> datetime | None:
        """Since when KubeRay has its driver submitted: Ray stands, and has not begun it. None: it is not at that."""
        if self.deployment_status != "Running" or self.job_status not in ("", "PENDING"):
            return None
        ready = (ready_since(cluster) for cluster in self.clusters)
        return max((since for since in (self.began, *ready) if since is not None), default=None)

    def clocked(self, now: datetime) -> Ledger:
        """The ledger with the spell that is at work; the one before it, when there was one, is added up.

        KubeRay starts its clock anew when a queue takes a RayJob back and lets it go. That is seen as it happens; a
        spell whose end nobody saw counts up to its newest commit, for what followed may have been a wait.
        """
        ledger, began = self.ledger, self.began
        if ledger.began == began:
            return ledger
        over = 0.0
        if ledger.began is not None:
            until = now if began is None else self._commit_time()
            over = (until - ledger.began).total_seconds() if until else 0.0
        return ledger.amended(active_seconds=round(ledger.active_seconds + max(0.0, over), 3), began=began)

    def _commit_time(self) -> datetime | None:
        document = self.report.document
        return moment({"time": document.checkpoint.time}, "time") if document and document.checkpoint else None

    def active_seconds(self, now: datetime) -> float:
        """How long the job was at work in all attempts up to this one; waiting in a queue does not count."""
        ledger = self.clocked(now)
        ended = moment(self.rayjob, "status", "endTime") if self.ended_by_kuberay else None
        until = now if ended is None else min(ended, now)
        return ledger.active_seconds + (max(0.0, (until - ledger.began).total_seconds()) if ledger.began else 0.0)

    def failures(self) -> int:
        """Failures in a row without a new commit, when this attempt has failed."""
        return 1 + (self.ledger.failures if self.committed() <= self.ledger.committed else 0)


def ready_since(cluster: Json) -> datetime | None:
    """When all pods of a cluster were ready for the first time."""
    provisioned = (
        one for one in listed(cluster, "status", "conditions") if text(one, "type") == "RayClusterProvisioned"
    )
    ready = next((one for one in provisioned if text(one, "status") == "True"), None)
    return moment(ready, "lastTransitionTime")


def rayjob_key(parent: Json, number: int) -> ObjectKey:
    """Where an attempt's RayJob stands."""
    return ObjectKey(RAY_JOBS, parent["metadata"]["namespace"], child_name(parent, number))


def record_key(parent: Json, number: int) -> ObjectKey:
    """Where an attempt's status ConfigMap stands."""
    return ObjectKey(CONFIG_MAPS, parent["metadata"]["namespace"], status_name(child_name(parent, number)))


def newest_attempt(observation: Observation) -> Attempt:
    """The attempt that counts: the highest number of which anything of ours tells."""
    parent = observation.parent
    told = max(0, whole(parent, "status", "attempts"))
    standing = {number for key in observation.objects if (number := number_of(observation, key))}
    return attempt_of(observation, max({told, *standing}))


def number_of(observation: Observation, key: ObjectKey) -> int:
    """The attempt of which an object is the RayJob or the status ConfigMap, by name and owner; 0 when it is neither."""
    if key.resource == RAY_JOBS:
        child = key.name
    elif key.resource == CONFIG_MAPS and key.name.endswith(_STATUS):
        child = key.name.removesuffix(_STATUS)
    else:
        return 0
    digits = child.rpartition("-")[2]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
        return 0
    ours = controller_uid(observation.objects[key]) == uid_of(observation.parent)
    return int(digits) if ours and child == child_name(observation.parent, int(digits)) else 0


def attempt_of(observation: Observation, number: int) -> Attempt:
    """Gather an attempt."""
    parent = observation.parent
    rayjob = owned(observation, rayjob_key(parent, number))
    record = owned(observation, record_key(parent, number))
    clusters = tuple(item for _, item in observation.owned(RAY_CLUSTERS, rayjob)) if rayjob else ()
    return Attempt(
        number=number,
        rayjob=rayjob,
        record=record,
        ledger=_ledger(observation, number, record),
        report=report_of(record, parent["kind"], parent["metadata"]["name"]),
        told_commit=max(0, whole(parent, "status", "checkpoint", "step")),
        told_failure=text(parent, "status", "lastFailure", "message"),
        clusters=clusters,
        pods=tuple(pod for cluster in clusters for _, pod in observation.owned(PODS, cluster)),
    )


def owned(observation: Observation, key: ObjectKey) -> Json | None:
    """The object that stands there, when the parent controls it."""
    item = observation.get(key)
    return item if item is not None and controller_uid(item) == uid_of(observation.parent) else None


def _ledger(observation: Observation, number: int, record: Json | None) -> Ledger:
    """The attempt's ledger; before its ConfigMap stands, what the attempt before hands on."""
    if record is not None:
        return ledger_of(record)
    before = owned(observation, record_key(observation.parent, number - 1))
    ledger = ledger_of(before)
    return ledger.following() if ledger.outcome else Ledger()
