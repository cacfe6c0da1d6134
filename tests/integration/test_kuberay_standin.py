"""The stand-in for KubeRay at a real API server: its writes pass KubeRay's own schemas, its Pods the server's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from modelyard_operator.cluster.api import Cluster
from modelyard_operator.cluster.rest import open_rest
from modelyard_operator.kinds.objects import PODS
from support.apiserver import Namespace
from support.kuberay import Attempt, Moment, Script, ScriptedRay, StandIn, scripts
from support.kuberay.samples import rayjob, rayservice

QUICK = (Moment(0, job="RUNNING"), Moment(1, job="SUCCEEDED"))
ATTEMPTS = {
    "succeeds": Attempt(QUICK),
    "no-image": scripts.NO_IMAGE,
    "no-config": Attempt(never=scripts.Fault("config")),
    "unschedulable": scripts.UNSCHEDULABLE,
    "out-of-memory": Attempt((Moment(0, job="RUNNING"), Moment(1, fault=scripts.Fault("oom")))),
    "evicted": Attempt((Moment(0, job="RUNNING"), Moment(1, fault=scripts.Fault("evicted", "workers")))),
    "preempted": Attempt((Moment(0, job="RUNNING"), Moment(1, fault=scripts.Fault("preempted", "workers")))),
}
NEVER_RUN = {"no-image", "no-config", "unschedulable"}
SEEN = {
    "no-image": "ImagePullBackOff", "no-config": "CreateContainerConfigError", "unschedulable": "Unschedulable",
    "out-of-memory": "OOMKilled",
}  # fmt: skip


def items(namespace: Namespace) -> list[dict[str, Any]]:
    """RayJobs, RayServices and an upgrade's worth of everything else, without what the server alone may set."""
    deadlines = {name: 6 if name in NEVER_RUN else 300 for name in ATTEMPTS}
    made = [rayjob(name, preRunningDeadlineSeconds=deadlines[name]) for name in ATTEMPTS] + [rayservice("serving")]
    for item in made:
        item["metadata"] = {"name": item["metadata"]["name"], "namespace": namespace.name}
    return made


def by_name(namespace: Namespace, kind: str) -> dict[str, Any]:
    return {item["metadata"]["name"]: item for item in namespace.json("get", kind)["items"]}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


async def follow_pods(cluster: Cluster, namespace: str, seen: dict[str, str]) -> None:
    """Gather for ever what the Pods tell; most go soon, so each of their states is heard, not looked for."""
    begin = (await cluster.list(PODS, namespace=namespace)).resource_version
    async for event in cluster.watch(PODS, namespace=namespace, resource_version=begin, timeout_seconds=300):
        for name in ATTEMPTS:
            if event.type != "BOOKMARK" and event.item["metadata"]["name"].startswith(name):
                seen[name] = seen.get(name, "") + json.dumps(event.item.get("status"))


def test_jobs_and_a_service_come_to_their_ends_at_a_real_server(namespace: Namespace) -> None:
    seen: dict[str, str] = {}

    def ended() -> bool:
        jobs = {name: item.get("status", {}) for name, item in by_name(namespace, "rayjobs").items()}
        done = {name for name, status in jobs.items() if status.get("jobDeploymentStatus") in ("Complete", "Failed")}
        waits = {"out-of-memory", "evicted", "preempted"}  # their jobs hang: nobody ends them here
        serves = by_name(namespace, "rayservices")["serving"].get("status", {}).get("numServeEndpoints", 0)
        return done == ATTEMPTS.keys() - waits and serves == 2 and all(w in seen.get(n, "") for n, w in SEEN.items())

    async def scenario() -> None:
        async with open_rest(namespace.server.kubeconfig) as cluster:
            script = Script(jobs={name: (attempt,) for name, attempt in ATTEMPTS.items()})
            standin, stop = StandIn(cluster, ScriptedRay(script), namespace=namespace.name), asyncio.Event()
            running = asyncio.create_task(standin.run(stop, every_seconds=0.3))
            following = asyncio.create_task(follow_pods(cluster, namespace.name, seen))
            for item in items(namespace):
                await cluster.create(item)
            await until(lambda: following.done() or ended())
            assert not following.done(), following.exception()
            namespace.kubectl("delete", "rayjobs,rayservices", "--all", "--wait=false")
            await until(lambda: not by_name(namespace, "rayjobs,rayservices,rayclusters"))
            stop.set()
            await running
            following.cancel()
            assert {error.code for error in standin.errors} <= {409}, standin.errors

    asyncio.run(scenario())
    assert not by_name(namespace, "rayjobs")
