"""Kill the operator, by seed, amid a stream of TrainingJobs on a real API server: nothing comes out otherwise.

    python benchmarks/operator_kills.py                  # 150 kills
    python benchmarks/operator_kills.py --kills 20 --seed 3

Every life of the operator gets a new job and is ended by SIGKILL at a random moment after it has read the cluster.
KubeRay's stand-in plays the jobs by script: they succeed, fail, lose a worker and succeed in a second attempt, are
suspended and resumed, are deleted. One job of each kind is played first, by an operator that nobody kills: the others'
statuses, Events, children and creations must be as there. A watch counts what is created; foreign objects with our
labels must not change. The operator has exactly the roles that the chart gives it. Fails (exit 1) when anything is
otherwise.

The operators run without a Lease: a killed leader's is honoured for 15 s, which is another test's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from modelyard_operator.cluster.api import ClusterError, NotFoundError
from modelyard_operator.cluster.rest import RestCluster, open_rest
from modelyard_operator.kinds.conditions import is_over
from modelyard_operator.kinds.names import KIND_LABEL, MANAGED_BY, NAME_LABEL
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVENTS,
    NETWORK_POLICIES,
    PERSISTENT_VOLUME_CLAIMS,
    RAY_CLUSTERS,
    RAY_JOBS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    TRAINING_JOBS,
    Json,
    ObjectKey,
    Resource,
)
from support.accounts import operators_kubeconfig
from support.apiserver import Namespace, running
from support.job_worlds import failure, job
from support.kuberay import Attempt, Moment, Script, ScriptedRay, StandIn
from support.kuberay import scripts as played
from support.kuberay.vocabulary import EXTERNAL_MANAGER

WATCHED = (CONFIG_MAPS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, RAY_JOBS, RAY_CLUSTERS, EVENTS)
FOREIGN = (CONFIG_MAPS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, RAY_JOBS)
IN_PASSING = {"Starting", "Preparing", "Training", "Evaluating", "Registering", "Queued", "Ending", "Stopping"}
LIVES_SECONDS = 1.2  # after it has read the cluster, at most
PATIENCE_SECONDS = 420.0  # for what is under way at the end: a second attempt waits 40 s
PLANTING_SECONDS = 5.0  # for the server's own controllers, who give a ServiceAccount its token
PLOTS = ("succeeds", "fails", "retries", "resumes", "deleted")


@dataclass
class World:
    """What is known of the run: uids by place as a watch saw them, and the foreign objects as they were planted."""

    cluster: RestCluster
    namespace: str
    uids: dict[ObjectKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    planted: dict[ObjectKey, Json] = field(default_factory=dict)

    def key(self, resource: Resource, name: str) -> ObjectKey:
        """Where an object of the namespace lies."""
        return ObjectKey(resource, self.namespace, name)


def document(name: str, phase: str, **fields: Any) -> dict[str, Any]:
    """What a driver says of itself."""
    progress = {"stage": "train", "step": 10, "totalSteps": 100, "tokens": 5120}
    return {"schema": 1, "kind": "TrainingJob", "name": name, "phase": phase, "progress": progress, **fields}


class Plots(Script):
    """What becomes of a job is in its name: `<plot>-<number>`."""

    def attempt(self, name: str, number: int) -> Attempt:
        """See `Script`."""
        plot = name.rpartition("-")[0]
        trains = Moment(2, document=document(name, "Training"))
        ends = (Moment(4, document=document(name, "Succeeded")), Moment(5, job="SUCCEEDED"))
        if plot == "fails":
            broken = document(name, "Failed", lastFailure=failure("BadData", "no document can be read"))
            return played.runs(trains, Moment(4, document=broken), Moment(5, job="FAILED", message=played.EXIT_ONE))
        if plot == "retries" and number == 0:
            return played.runs(trains, Moment(5, job="FAILED", message=played.EXIT_ONE))
        if plot == "deleted" or (plot == "resumes" and number == 0):
            stopped = document(name, "Suspended", lastFailure=failure("Interrupted"))
            return played.runs(trains, suspended=stopped)
        return played.runs(trains, *ends)


async def plant(world: World) -> None:
    """The claim that jobs name, and somebody else's objects with our labels."""
    labels = {**MANAGED_BY, KIND_LABEL: "trainingjob", NAME_LABEL: "succeeds-1"}
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    await world.cluster.create(_object(PERSISTENT_VOLUME_CLAIMS, world, "yard", {}, {"spec": claim}))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "theirs"}
    bodies: dict[Resource, dict[str, Any]] = {
        ROLE_BINDINGS: {"roleRef": role},
        NETWORK_POLICIES: {"spec": {"podSelector": {}}},
        RAY_JOBS: {"spec": {"managedBy": EXTERNAL_MANAGER}},
    }
    for resource in FOREIGN:
        await world.cluster.create(_object(resource, world, "theirs", labels, bodies.get(resource, {})))
    await asyncio.sleep(PLANTING_SECONDS)
    for resource in FOREIGN:
        key = world.key(resource, "theirs")
        world.planted[key] = await world.cluster.get(key)


def _object(resource: Resource, world: World, name: str, labels: Json, body: Json) -> dict[str, Any]:
    metadata = {"name": name, "namespace": world.namespace, "labels": dict(labels)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **body}


async def count(world: World, resource: Resource) -> None:
    """Note the uid of every object that is ever there, from now on."""
    version = (await world.cluster.list(resource, namespace=world.namespace, limit=1)).resource_version
    while True:
        with suppress(ClusterError):
            events = world.cluster.watch(
                resource, namespace=world.namespace, resource_version=version, timeout_seconds=300
            )
            async for event in events:
                metadata = event.item["metadata"]
                version = metadata["resourceVersion"]
                if event.type != "BOOKMARK":
                    world.uids[world.key(resource, metadata["name"])].add(metadata["uid"])


async def act(world: World, name: str) -> None:
    """A user's part in a job: create it; suspend and resume it, or delete it, once it trains."""
    item = job(register={"name": "model"})
    item["metadata"] = {"name": name, "namespace": world.namespace}
    key, plot = world.key(TRAINING_JOBS, name), name.rpartition("-")[0]
    await world.cluster.create(item)
    if plot == "deleted":
        await _until(world, key, lambda found: _phase(found) == "Training")
        await world.cluster.delete(key)
    if plot == "resumes":
        await _until(world, key, lambda found: _phase(found) == "Training")
        await world.cluster.patch(key, {"spec": {"suspend": True}})
        await _until(world, key, lambda found: _phase(found) == "Suspended")
        await world.cluster.patch(key, {"spec": {"suspend": False}})


async def end(world: World, name: str) -> None:
    """Wait until a job is over and tidied up, or gone."""
    key = world.key(TRAINING_JOBS, name)
    with suppress(NotFoundError):
        await _until(world, key, is_over)
    while name in {owner for _, _, owner in await children(world)}:
        await asyncio.sleep(0.5)


async def _until(world: World, key: ObjectKey, holds: Callable[[Json], bool]) -> None:
    while not holds(await world.cluster.get(key)):
        await asyncio.sleep(0.5)


def _phase(item: Json) -> str:
    phase: str = (item.get("status") or {}).get("phase", "")
    return phase


async def children(world: World) -> list[tuple[Resource, str, str]]:
    """(kind, name, parent's name) of what stands of jobs, but for snapshots, which stay."""
    found = []
    for resource in (*FOREIGN, RAY_CLUSTERS):
        page = await world.cluster.list(
            resource, namespace=world.namespace, labels=f"{KIND_LABEL}=trainingjob", limit=5000
        )
        for item in page.items:
            name, parent = item["metadata"]["name"], item["metadata"]["labels"][NAME_LABEL]
            is_snapshot = resource == CONFIG_MAPS and not name.endswith("-status")
            if world.key(resource, name) not in world.planted and not is_snapshot:
                found.append((resource, name, parent))
    return found


class Operator:
    """One life of the operator."""

    def __init__(self, config: Path, namespace: str, log: Path) -> None:
        self.log = log
        words = [f"--kubeconfig={config}", f"--namespace={namespace}", "--metrics-port=0"]
        with log.open("wb") as out:
            command = [sys.executable, "-m", "modelyard_operator", *words]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)

    async def reads(self) -> None:
        """Wait until it has read the cluster."""
        while "the cache is complete" not in self.log.read_text():
            if self.process.poll() is not None:
                raise RuntimeError(f"the operator ended by itself: {self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.02)

    def kill(self) -> bool:
        """SIGKILL; returns whether it had begun to write."""
        self.process.kill()
        self.process.wait()
        return re.search(r"\b(Create|Patch|Delete|Emit) ", self.log.read_text()) is not None


class Life(NamedTuple):
    """How long an operator lived after it had read the cluster, and whether it had begun to write."""

    seconds: float
    wrote: bool


@dataclass(frozen=True)
class Story:
    """What came of a job, without names, ids and times."""

    status: str
    events: tuple[tuple[str, str, str], ...]
    created: tuple[tuple[str, str, int], ...]


async def story(world: World, name: str) -> Story:
    """Status, Events but those of states in passing, and how often each child was created."""
    uid, status = "", "gone"
    with suppress(NotFoundError):
        item = await world.cluster.get(world.key(TRAINING_JOBS, name))
        uid, told = item["metadata"]["uid"], item.get("status") or {}
        conditions = [[one["type"], one["status"], one["reason"], one["message"]] for one in told.get("conditions", ())]
        kept = {field: told.get(field) for field in ("phase", "attempts", "progress", "lastFailure")}
        status = json.dumps([conditions, kept]).replace(name, "NAME")
    page = await world.cluster.list(EVENTS, namespace=world.namespace, limit=5000)
    about = [
        one
        for one in page.items
        if one["involvedObject"]["name"] == name and one["involvedObject"]["kind"] == "TrainingJob"
    ]
    events = sorted((one["type"], one["reason"], one["message"]) for one in about if one["reason"] not in IN_PASSING)
    return Story(status, tuple(events), tuple(sorted(_created(world, name, uid))))


def _created(world: World, name: str, uid: str) -> Iterator[tuple[str, str, int]]:
    """(kind, the name's end, uids) of what was there under names of the job's; random ends of KubeRay's left out."""
    for key, uids in world.uids.items():
        if key.resource != EVENTS and key.name.startswith(f"{name}-"):
            rest = key.name.removeprefix(f"{name}-")[8:]
            if key.resource == RAY_CLUSTERS:
                rest = rest[: rest.rindex("-")]
            yield key.resource.kind, rest, len(uids)


def faults(name: str, wanted: Story, found: Story) -> Iterator[str]:
    """In words, what came out otherwise."""
    if wanted.status != found.status:
        yield f"{name}: {found.status} instead of {wanted.status}"
    for what, one, other in (("Event", wanted.events, found.events), ("child", wanted.created, found.created)):
        yield from (f"{name}: {what} {lost} is not there" for lost in set(one) - set(other))
        yield from (f"{name}: {what} {more} should not be there" for more in set(other) - set(one))


async def whole(world: World, ray: ScriptedRay) -> list[str]:
    """What must hold of all at the end."""
    found = [f"{key}: created {len(uids)} times" for key, uids in world.uids.items() if len(uids) > 1]
    found += [f"driver {job_id} started {times} times" for job_id, times in ray.submissions.items() if times != 1]
    for key, item in world.planted.items():
        if (await world.cluster.get(key))["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            found.append(f"{key}: is somebody else's, and was touched")
    found += [f"{resource.kind} {name} of {parent} is left" for resource, name, parent in await children(world)]
    return found


async def played_out(namespace: Namespace, kills: int, chance: random.Random, folder: Path) -> list[str]:
    """The whole of it; returns what came out otherwise."""
    config = operators_kubeconfig(namespace, folder / "kubeconfig")
    async with open_rest(namespace.server.kubeconfig) as cluster:
        world, stop = World(cluster, namespace.name), asyncio.Event()
        await plant(world)
        ray = ScriptedRay(Plots())
        kuberay = StandIn(cluster, ray, namespace=namespace.name)
        going_on = [asyncio.create_task(count(world, resource)) for resource in WATCHED]
        moving = asyncio.create_task(kuberay.run(stop))
        try:
            wanted = await _undisturbed(config, world, folder)
            names, lives = await _disturbed(config, world, kills, chance, folder)
            found = [
                words
                for name in names
                for words in faults(name, wanted[name.rpartition("-")[0]], await story(world, name))
            ]
            found += await whole(world, ray)
        finally:
            stop.set()
            await moving
            for task in going_on:
                task.cancel()
        _tell(names, lives, world, ray)
        return found


async def _undisturbed(config: Path, world: World, folder: Path) -> dict[str, Story]:
    operator = Operator(config, world.namespace, folder / "undisturbed.log")
    try:
        names = [f"{plot}-0" for plot in PLOTS]
        await asyncio.gather(*(act(world, name) for name in names))
        await asyncio.gather(*(end(world, name) for name in names))
        await asyncio.sleep(2)
        return {name.rpartition("-")[0]: await story(world, name) for name in names}
    finally:
        operator.kill()


async def _disturbed(
    config: Path, world: World, kills: int, chance: random.Random, folder: Path
) -> tuple[list[str], list[Life]]:
    """Life after life, each with a new job; the last one lives until everything is over."""
    names, acting, lives = [], [], []
    for number in range(1, kills + 1):
        name = f"{PLOTS[number % len(PLOTS)]}-{number}"
        names.append(name)
        acting.append(asyncio.create_task(act(world, name)))
        operator = Operator(config, world.namespace, folder / f"life-{number}.log")
        await operator.reads()
        seconds = chance.uniform(0, LIVES_SECONDS)
        await asyncio.sleep(seconds)
        lives.append(Life(seconds, operator.kill()))
        if number % 25 == 0:
            print(f"{number} kills so far", file=sys.stderr)
    last = Operator(config, world.namespace, folder / "last.log")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*acting)
            await asyncio.gather(*(end(world, name) for name in names))
        await asyncio.sleep(2)
    finally:
        last.kill()
    return names, lives


def _tell(names: list[str], lives: list[Life], world: World, ray: ScriptedRay) -> None:
    kinds = Counter(key.resource.kind for key in world.uids)
    middle = statistics.median(life.seconds for life in lives)
    print(f"{len(lives)} kills, up to {LIVES_SECONDS} s (median {middle:.2f}) after the operator had read the cluster")
    print(f"lives that had begun to write: {sum(life.wrote for life in lives)}")
    print(f"{len(names)} jobs, {ray.submissions.total()} drivers started")
    print("objects that ever were: " + ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())))


def main() -> int:
    """Run it; 1 when anything came out otherwise than undisturbed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    with running() as server, server.new_namespace() as namespace, tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(played_out(namespace, arguments.kills, random.Random(arguments.seed), Path(folder)))
    print(f"{time.monotonic() - began:.0f} s in all, load {load:.1f} before and {os.getloadavg()[0]:.1f} after")
    print("\n".join(found) or "everything is as without kills")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
