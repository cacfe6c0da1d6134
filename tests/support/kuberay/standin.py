"""A stand-in for KubeRay v1.7: it reconciles RayJobs, RayServices and RayClusters of an API server, real or in memory.

    standin = StandIn(cluster, ScriptedRay(script), clock=clock, chance=random.Random(7))
    await standin.settle()          # in memory: until nothing is written any more at this moment of the clock
    await standin.run(stop)         # on a real server: until the event is set

One step reads everything once and reconciles every object once, in the order of names: with the same clock and chance
it does the same. A write refused as a conflict is left for the next step, as controllers do.
"""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from modelyard_operator.cluster.api import Cluster, ClusterError, NotFoundError
from modelyard_operator.kinds.objects import (
    PODS,
    RAY_CLUSTERS,
    RAY_JOBS,
    RAY_SERVICES,
    SERVICES,
    Json,
    ObjectKey,
    Resource,
    controller_uid,
    uid_of,
)
from modelyard_operator.kinds.observations import Probe
from support.kuberay import rayjobs, rayservices
from support.kuberay.outcomes import DashboardError, Ray
from support.kuberay.pods import is_head, is_ready
from support.kuberay.rayclusters import next_cluster
from support.kuberay.vocabulary import (
    CLUSTER_LABEL,
    AddFinalizer,
    Change,
    DropFinalizer,
    Make,
    PutServeConfig,
    Remove,
    ScheduleDeletion,
    StopJob,
    Submit,
    Tell,
    Write,
    WriteStatus,
)

SEEN = (RAY_JOBS, RAY_SERVICES, RAY_CLUSTERS, PODS, SERVICES)
WAKERS = (RAY_JOBS, RAY_SERVICES, RAY_CLUSTERS)
MOST_STEPS = 60  # of one moment; a real retry with everything deleted and made anew takes about fifteen
_SUFFIX = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Told:
    """An Event that KubeRay would have written."""

    about: ObjectKey
    event: Tell


@dataclass
class StandIn:
    """The controllers. `namespace` empty: all of them. `told` are the Events, which it does not write."""

    cluster: Cluster
    ray: Ray
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    namespace: str = ""
    told: list[Told] = field(default_factory=list)
    errors: list[ClusterError] = field(default_factory=list)
    _deletions: dict[str, datetime] = field(default_factory=dict)
    _configs: dict[str, str] = field(default_factory=dict)
    _alive: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """KubeRay starts anew: timers of deletions and the Serve configurations sent were only in its memory."""
        self._deletions.clear()
        self._configs.clear()

    async def settle(self) -> int:
        """Steps until one writes nothing; returns how many wrote. AssertionError when it does not come to rest."""
        for steps in range(MOST_STEPS):
            if not await self.step():
                return steps
        raise AssertionError(f"KubeRay's stand-in still writes after {MOST_STEPS} steps of one moment")

    async def run(self, stop: asyncio.Event, *, every_seconds: float = 1.0) -> None:
        """Reconcile whenever one of KubeRay's kinds changes, and at least `every_seconds`, until `stop` is set."""
        woken = asyncio.Event()
        watches = [asyncio.create_task(self._watch(resource, woken)) for resource in WAKERS]
        try:
            while not stop.is_set():
                woken.clear()
                try:
                    again = await self.step() > 0
                except ClusterError as error:
                    self.errors.append(error)
                    again = False
                await _first(woken, stop, 0.05 if again else every_seconds)
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def _watch(self, resource: Resource, woken: asyncio.Event) -> None:
        while True:
            try:
                page = await self.cluster.list(resource, namespace=self.namespace, limit=1)
                woken.set()  # what was written between the last step and this list
                events = self.cluster.watch(
                    resource, namespace=self.namespace, resource_version=page.resource_version, timeout_seconds=60
                )
                async for _ in events:
                    woken.set()
            except ClusterError as error:
                self.errors.append(error)
                await asyncio.sleep(0.5)

    async def ask(self, url: str) -> Probe:
        """A request to a Service of the cluster (`http://<name>.<namespace>.svc…/path`), as the operator's probe."""
        cluster = await self.behind(urlsplit(url).hostname or "")
        if cluster is None:
            return Probe(url, healthy=False, message="no such Service, or no endpoints")
        return await self.ray.ask(cluster, url, self.clock())

    async def behind(self, host: str) -> Json | None:
        """The RayCluster that answers for a Service's DNS name now; None without a ready Pod."""
        name, _, rest = host.partition(".")
        namespace = rest.partition(".")[0]
        service = await self._get(ObjectKey(SERVICES, namespace, name))
        selector = (service or {}).get("spec", {}).get("selector") or {}
        if CLUSTER_LABEL not in selector:
            return None
        wanted = ",".join(f"{label}={value}" for label, value in sorted(selector.items()))
        pods = await self.cluster.list(PODS, namespace=namespace, labels=wanted)
        if not any(is_ready(pod) for pod in pods.items):
            return None
        return await self._get(ObjectKey(RAY_CLUSTERS, namespace, selector[CLUSTER_LABEL]))

    async def _get(self, key: ObjectKey) -> Json | None:
        try:
            return await self.cluster.get(key)
        except NotFoundError:
            return None

    async def step(self) -> int:
        """One reconcile of everything that there is; returns how many writes were made."""
        now = self.clock()
        await self.ray.advance(self.cluster, now)
        world = await self._read()
        await self._bury(world)
        done = await self._kubelet(world, now)
        for resource, plan in ((RAY_CLUSTERS, self._cluster), (RAY_JOBS, self._job), (RAY_SERVICES, self._service)):
            for key in sorted(key for key in world if key.resource == resource):
                done += await self._do(key, world, plan(world[key], world, now), now)
        return done

    async def _read(self) -> dict[ObjectKey, Json]:
        world: dict[ObjectKey, Json] = {}
        for resource in SEEN:
            more = ""
            while True:
                page = await self.cluster.list(resource, namespace=self.namespace, more=more)
                world |= {_key(resource, item): item for item in page.items}
                if not (more := page.more):
                    break
        return world

    async def _bury(self, world: Mapping[ObjectKey, Json]) -> None:
        alive = {uid_of(item) for key, item in world.items() if key.resource == RAY_CLUSTERS}
        for uid in sorted(self._alive - alive):
            await self.ray.gone(uid)
        self._alive = alive

    async def _kubelet(self, world: Mapping[ObjectKey, Json], now: datetime) -> int:
        """Statuses of the Pods that are nodes of a cluster that lives."""
        done = 0
        clusters = {uid_of(item): item for key, item in world.items() if key.resource == RAY_CLUSTERS}
        for key, pod in sorted((key, item) for key, item in world.items() if key.resource == PODS):
            cluster = clusters.get(controller_uid(pod))
            if cluster is None or "deletionTimestamp" in pod["metadata"]:
                continue
            status = {**pod.get("status", {}), **self.ray.pod_status(pod, cluster, now)}
            if _untimed(status) != _untimed(pod.get("status", {})):
                done += await self._do(key, world, [WriteStatus(status)], now)
        return done

    def _cluster(self, cluster: Json, world: Mapping[ObjectKey, Json], now: datetime) -> list[Write]:
        pods = _owned(world, PODS, cluster)
        service = ObjectKey(SERVICES, cluster["metadata"]["namespace"], f"{cluster['metadata']['name']}-head-svc")
        return next_cluster(cluster, pods, service in world, now, self._names)

    def _job(self, rayjob: Json, world: Mapping[ObjectKey, Json], now: datetime) -> list[Write]:
        status = rayjob.get("status", {})
        namespace, job_id = rayjob["metadata"]["namespace"], status.get("jobId", "")
        cluster = world.get(ObjectKey(RAY_CLUSTERS, namespace, status.get("rayClusterName", "")))
        if cluster is None:
            return rayjobs.next_state(rayjob, rayjobs.World(), now, self._names)
        head = next((pod for pod in _owned(world, PODS, cluster) if is_head(pod)), None)
        submitter = self.ray.submitter(cluster, job_id, now)
        try:
            around = rayjobs.World(cluster, head, submitter, self.ray.job(cluster, job_id, now))
        except DashboardError:
            around = rayjobs.World(cluster, head, submitter, reachable=False)
        return rayjobs.next_state(rayjob, around, now, self._names)

    def _service(self, service: Json, world: Mapping[ObjectKey, Json], now: datetime) -> list[Write]:
        clusters = {item["metadata"]["name"]: item for item in _owned(world, RAY_CLUSTERS, service)}
        namespace = service["metadata"]["namespace"]
        around = rayservices.World(
            clusters=clusters,
            pods=[pod for cluster in clusters.values() for pod in _owned(world, PODS, cluster)],
            services={key.name: item for key, item in world.items() if key[:2] == (SERVICES, namespace)},
            applications={name: self.ray.applications(item, now) for name, item in clusters.items()},
            healthy=frozenset(name for name, item in clusters.items() if self.ray.serves(item, now)),
            deletions=self._deletions,
            configs=self._configs,
        )
        return rayservices.next_state(service, around, now, self._names)

    def _names(self) -> str:
        return "".join(self.chance.choices(_SUFFIX, k=5))

    async def _do(self, key: ObjectKey, world: Mapping[ObjectKey, Json], writes: Iterable[Write], now: datetime) -> int:
        """Carry writes out in order; returns how many changed something. A refused one ends this object's turn."""
        item, done = world[key], 0
        for write in writes:
            try:
                after = await self._one(key, item, write, world, now)
            except NotFoundError:
                return done
            except ClusterError as error:
                self.errors.append(error)
                return done
            item, done = after if after is not None else item, done + (not isinstance(write, Tell))
        return done

    async def _one(
        self, key: ObjectKey, item: Json, write: Write, world: Mapping[ObjectKey, Json], now: datetime
    ) -> Json | None:
        """One write; returns the object itself where the write changed it."""
        match write:
            case AddFinalizer(name):
                return await self._change(key, item, {"finalizers": [*item["metadata"].get("finalizers", ()), name]})
            case DropFinalizer(name):
                kept = [other for other in item["metadata"].get("finalizers", ()) if other != name]
                await self._change(key, item, {"finalizers": kept})
            case WriteStatus(status):
                body = {"status": difference(item.get("status", {}), status)}
                version = item["metadata"]["resourceVersion"]
                return await self.cluster.patch(key, body, resource_version=version, subresource="status")
            case Make(made):
                await self.cluster.create(made)
            case Change(other, body):
                await self.cluster.patch(other, body)
            case Remove(other):
                await self.cluster.delete(other)
            case Tell():
                self.told.append(Told(key, write))
            case Submit(job_id):
                await self.ray.submit(item, _cluster_of(item, world), job_id, now)
            case StopJob(job_id):
                await self.ray.stop(job_id)
            case PutServeConfig(name, config):
                await self.ray.serve(world[ObjectKey(RAY_CLUSTERS, key.namespace, name)], config, now)
                self._configs[name] = config
            case ScheduleDeletion(name, at):
                self._deletions[name] = at
        return None

    async def _change(self, key: ObjectKey, item: Json, metadata: Mapping[str, Any]) -> Json:
        version = item["metadata"]["resourceVersion"]
        return await self.cluster.patch(key, {"metadata": metadata}, resource_version=version)


def difference(old: Any, new: Any) -> Any:
    """The merge patch that makes `new` of `old`."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    changed = {key: difference(old.get(key), value) for key, value in new.items() if old.get(key) != value}
    return {**changed, **{key: None for key in old if key not in new}}


def _key(resource: Resource, item: Json) -> ObjectKey:
    return ObjectKey(resource, item["metadata"]["namespace"], item["metadata"]["name"])


def _cluster_of(rayjob: Json, world: Mapping[ObjectKey, Json]) -> Json:
    return world[ObjectKey(RAY_CLUSTERS, rayjob["metadata"]["namespace"], rayjob["status"]["rayClusterName"])]


def _owned(world: Mapping[ObjectKey, Json], resource: Resource, owner: Json) -> list[Json]:
    uid = uid_of(owner)
    keys = sorted(key for key, item in world.items() if key.resource == resource and controller_uid(item) == uid)
    return [world[key] for key in keys]


def _untimed(value: Any) -> Any:
    """A status without its times: a kubelet does not write because the clock went on."""
    if isinstance(value, Mapping):
        times = ("startedAt", "finishedAt", "lastTransitionTime", "startTime")
        return {key: _untimed(entry) for key, entry in value.items() if key not in times}
    return [_untimed(entry) for entry in value] if isinstance(value, list) else value


async def _first(woken: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    """Until one of the events is set, or the time is over."""
    waits = [asyncio.create_task(event.wait()) for event in (woken, stop)]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
