"""Outcomes by script: what the nodes, Ray, the driver and the Serve applications do, by seconds of the test's clock.

    script = Script(jobs={"tiny": (WORKER_OOM, SUCCEEDS)}, services={"tiny@2": NEVER_HEALTHY})

The n-th RayCluster made for a job's name plays its n-th attempt, the last one again and again; a Serve configuration
plays what stands under the version it names (`name@number`, found in its text).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelyard_operator.kinds.objects import Json

Kind = Literal[
    "image", "unschedulable", "config", "mount", "oom", "crash", "evicted", "preempted",
]  # fmt: skip
HEAD = "headgroup"
EVERY = "*"


@dataclass(frozen=True)
class Fault:
    """What befalls the Pods of a group (`headgroup`, a worker group's name, or `*`)."""

    kind: Kind
    group: str = EVERY

    def strikes(self, group: str) -> bool:
        """Whether Pods of this group are meant."""
        return self.group in (EVERY, group)


@dataclass(frozen=True)
class Moment:
    """What happens `after` so many seconds since the job was submitted; what it leaves None stays as it was.

    `document` is what the driver writes into its status ConfigMap then: a document, or any text. `index` holds
    registry indexes by model. `known`, `reachable`: whether the dashboard knows the job, whether it answers.
    `submitter` is for its batch Job; by itself it ends a second after the job did.
    """

    after: float
    job: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"] | None = None
    message: str = ""
    document: Json | str | None = None
    index: Mapping[str, Json] = field(default_factory=dict)
    fault: Fault | None = None
    known: bool | None = None
    reachable: bool | None = None
    submitter: Literal["running", "finished", "failed"] | None = None


@dataclass(frozen=True)
class Attempt:
    """One cluster of a job. With `never` its Pods do not start; `stops_after` None: deaf to `control: stop`.

    `suspended` is what the driver writes when it has stopped so.
    """

    moments: tuple[Moment, ...] = ()
    ready_after: float = 1.0
    never: Fault | None = None
    stops_after: float | None = 1.0
    suspended: Json | None = None


@dataclass(frozen=True)
class Serving:
    """What becomes of a Serve configuration: the applications' status and health by seconds since it was given."""

    moments: tuple[tuple[float, str, bool], ...]
    message: str = ""


def runs(*moments: Moment, **fields: object) -> Attempt:
    """An attempt that starts as usual, and then does what is told."""
    return Attempt(moments=(Moment(0, job="PENDING"), Moment(1, job="RUNNING"), *moments), **fields)  # type: ignore[arg-type]


EXIT_ONE = "Job entrypoint command failed with exit code 1"
SUCCEEDS = runs(Moment(10, job="SUCCEEDED", message="Job finished successfully."))
FAILS = runs(Moment(5, job="FAILED", message=EXIT_ONE))
STOPS = runs(Moment(5, job="STOPPED", message="Job was intentionally stopped."))
HANGS = runs()
HEAD_OOM = runs(
    Moment(5, fault=Fault("oom", HEAD), known=False, submitter="running"),
    Moment(8, submitter="finished"),
)
WORKER_OOM = runs(Moment(5, fault=Fault("oom", "workers")), Moment(6, job="FAILED", message=EXIT_ONE))
HEAD_EVICTED = runs(
    Moment(5, fault=Fault("evicted", HEAD), known=False, submitter="running"), Moment(8, submitter="failed")
)
PREEMPTED = runs(Moment(5, fault=Fault("preempted", "workers")), Moment(6, job="FAILED", message=EXIT_ONE))
NO_IMAGE = Attempt(never=Fault("image"))
UNSCHEDULABLE = Attempt(never=Fault("unschedulable"))
NOT_SUBMITTED = Attempt(moments=(Moment(0, known=False, submitter="running"), Moment(3, submitter="failed")))

COMES_UP = Serving(((0, "DEPLOYING", False), (2, "RUNNING", True)))
DEPLOY_FAILS = Serving(((0, "DEPLOYING", False), (2, "DEPLOY_FAILED", False)), "the replica cannot start")
NEVER_HEALTHY = Serving(((0, "DEPLOYING", False), (2, "RUNNING", False)))
SICKENS = Serving(((0, "DEPLOYING", False), (2, "RUNNING", True), (30, "UNHEALTHY", False)))


@dataclass
class Script:
    """By the name of a job, by the version of a served model; the defaults are for all others."""

    jobs: Mapping[str, tuple[Attempt, ...]] = field(default_factory=dict)
    services: Mapping[str, Serving] = field(default_factory=dict)
    job: Attempt = SUCCEEDS
    service: Serving = COMES_UP

    def attempt(self, name: str, number: int) -> Attempt:
        """The attempt that the cluster of this number (from 0) plays."""
        attempts = self.jobs.get(name, (self.job,))
        return attempts[min(number, len(attempts) - 1)]

    def serving(self, version: str) -> Serving:
        """What becomes of a configuration for a version."""
        return self.services.get(version, self.service)
