"""The running operator: reflectors fill the cache; who leads has workers; a signal or a fault ends it in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from modelyard_operator.cluster.api import Cluster
from modelyard_operator.cluster.executing import utc_now
from modelyard_operator.cluster.observing import LOOKED_AT, Ask
from modelyard_operator.kinds.objects import OURS, PODS
from modelyard_operator.runtime.cache import Cache
from modelyard_operator.runtime.controller import Controller, Planner
from modelyard_operator.runtime.election import Elector, Fenced
from modelyard_operator.runtime.metrics import Metrics
from modelyard_operator.runtime.progress import Progress
from modelyard_operator.runtime.reflector import Reflector
from modelyard_operator.runtime.workqueue import WorkQueue

TROUBLED_SECONDS = 60.0  # how long a kind may not be followed before this process is not ready
FINISH_SECONDS = 2.5  # for looks under way when the operator stops
RELEASE_SECONDS = 1.0
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SELECTED = {PODS: "ray.io/cluster"}  # KubeRay's own label: other pods are not looked at

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Habits:
    """How to run: where to look (empty: everywhere), how many workers, whether and where to elect a leader."""

    namespace: str = ""
    workers: int = 4
    elect: bool = False
    lease_namespace: str = ""
    identity: str = field(
        default_factory=lambda: f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4()}"
    )


def own_namespace() -> str:
    """Where this process runs; `default` outside of a cluster."""
    if os.environ.get("POD_NAMESPACE"):
        return os.environ["POD_NAMESPACE"]
    return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else "default"


class Operator:
    """Its parts, wired. `run` is all there is to do with it; `alive` and `ready` say what is wrong."""

    def __init__(
        self,
        cluster: Cluster,
        planner: Planner,
        ask: Ask,
        habits: Habits,
        metrics: Metrics,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.habits, self.metrics = habits, metrics
        self.elector = Elector(cluster, habits.lease_namespace or own_namespace(), habits.identity)
        self.queue, self.cache = WorkQueue(), Cache()
        fenced = Fenced(cluster, self.leads)
        self.controller = Controller(fenced, self.cache, self.queue, planner, ask, metrics, now)
        self.cache.changed = self.controller.changed
        self.reflectors = [
            Reflector(cluster, resource, self.cache, habits.namespace, _SELECTED.get(resource, ""))
            for resource in LOOKED_AT
        ]
        self._leading = False
        metrics.queue_depth.set_function(lambda: len(self.queue))
        metrics.leader.set_function(lambda: float(self._leading and self.leads()))
        metrics.registry.register(Progress(self.cache, lambda: self._leading and self.leads()))
        for resource in LOOKED_AT:
            metrics.objects.labels(str(resource)).set_function(partial(self.cache.objects.count, resource))

    def leads(self) -> bool:
        """Whether this process may write now."""
        return self.elector.leads() if self.habits.elect else True

    def alive(self) -> Mapping[str, str]:
        """What only a restart mends."""
        return {str(key): "a worker has looked at it for too long" for key in self.controller.stuck()}

    def ready(self) -> Mapping[str, str]:
        """Why this process could not lead, or does not see what happens."""
        faults = {}
        for reflector in self.reflectors:
            name, troubled = str(reflector.resource), reflector.troubled_seconds()
            if not reflector.synced.is_set():
                faults[name] = "not read yet"
            elif troubled > TROUBLED_SECONDS:
                faults[name] = f"not followed for {troubled:.0f} s"
            elif reflector.resource in OURS and reflector.resource not in self.cache.served:
                faults[name] = "not served: are the CRDs installed?"
        return faults

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; an ExceptionGroup of what else ended it: LeadershipLostError, or a fault."""
        try:
            async with asyncio.TaskGroup() as parts:
                following = [parts.create_task(reflector.run()) for reflector in self.reflectors]
                leading = parts.create_task(self._lead())
                await stop.wait()
                self.queue.close()
                await asyncio.wait([leading], timeout=FINISH_SECONDS if self._leading else 0.0)
                for part in (leading, *following):
                    part.cancel()
        finally:
            await self._release()

    async def _lead(self) -> None:
        """Wait for the cache and the lease, then work until the queue closes or the lease is lost."""
        for reflector in self.reflectors:
            await reflector.synced.wait()
        _log.info("the cache is complete")
        if self.habits.elect:
            await self.elector.acquire()
        self._leading = True
        async with asyncio.TaskGroup() as parts:
            holding = [parts.create_task(self.elector.hold())] if self.habits.elect else []
            await asyncio.wait([parts.create_task(self.controller.work()) for _ in range(self.habits.workers)])
            for part in holding:
                part.cancel()

    async def _release(self) -> None:
        """Give the lease back, now that nothing is written any more; it runs out by itself where that fails."""
        self._leading = False
        if self.habits.elect:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self.elector.release()
            except TimeoutError:
                _log.warning("the lease could not be given back in time")
