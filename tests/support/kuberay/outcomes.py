"""What happens inside a RayCluster: the door through which the controllers of this package see Ray and the nodes.

`scripts.ScriptedRay` answers it from a script, `local_ray.LocalRay` by running processes on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from modelyard_operator.cluster.api import Cluster
from modelyard_operator.kinds.objects import Json
from modelyard_operator.kinds.observations import Probe
from support.kuberay.rayjobs import JobInfo, Submitter


class DashboardError(Exception):
    """The dashboard of a cluster does not answer."""


class Ray(Protocol):
    """Ray, the kubelet and the scheduler of a RayCluster. `cluster` is the RayCluster object."""

    async def advance(self, cluster: Cluster, now: datetime) -> None:
        """Whatever goes on by itself: a driver writes its status, a process ends."""

    def pod_status(self, pod: Json, cluster: Json, now: datetime) -> dict[str, Any]:
        """The status of a Pod as its kubelet would write it now."""

    async def submit(self, rayjob: Json, cluster: Json, job_id: str, now: datetime) -> None:
        """Start the entrypoint; nothing happens when a job of that id is there."""

    def submitter(self, cluster: Json, job_id: str, now: datetime) -> Submitter | None:
        """The submitter of a job; None when nothing was submitted."""

    def job(self, cluster: Json, job_id: str, now: datetime) -> JobInfo | None:
        """What the dashboard says of a job; None: unknown to it. DashboardError."""

    async def stop(self, job_id: str) -> None:
        """Stop a job; nothing happens when there is none."""

    async def serve(self, cluster: Json, config: str, now: datetime) -> None:
        """Take a Serve configuration."""

    def applications(self, cluster: Json, now: datetime) -> Mapping[str, Json] | None:
        """The Serve applications with their statuses; None when the dashboard does not answer."""

    def serves(self, cluster: Json, now: datetime) -> bool:
        """Whether the Serve proxies of a cluster answer `-/healthz`."""

    async def ask(self, cluster: Json, url: str, now: datetime) -> Probe:
        """A real request to the cluster's Serve proxies."""

    async def gone(self, cluster_uid: str) -> None:
        """The cluster was deleted: everything in it ends."""
