"""The stand-in as a whole on the in-memory twin: what a watcher of RayJobs, RayServices and Pods gets to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard_operator.cluster.memory import MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.objects import CONFIG_MAPS, PODS, RAY_CLUSTERS, RAY_JOBS, RAY_SERVICES, Json, ObjectKey
from support.kuberay import Attempt, Moment, Script, ScriptedRay, StandIn
from support.kuberay import scripts as played
from support.kuberay.samples import NAMESPACE, cluster_spec, group, rayjob, rayservice, serve_config
from support.kuberay.vocabulary import condition_of

JOB = ObjectKey(RAY_JOBS, NAMESPACE, "tiny-1")
SERVICE = ObjectKey(RAY_SERVICES, NAMESPACE, "tiny")
STATUS = ObjectKey(CONFIG_MAPS, NAMESPACE, "tiny-1-status")
URL = f"http://tiny-serve-svc.{NAMESPACE}.svc.cluster.local:8000/health"


@dataclass
class Stage:
    """A twin, a clock that the test moves, and the stand-in on them."""

    script: Script = field(default_factory=Script)
    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.store = Store(now=lambda: self.now)
        self.cluster = MemoryCluster(self.store)
        self.ray = ScriptedRay(self.script)
        self.standin = StandIn(self.cluster, self.ray, clock=lambda: self.now)

    async def seconds(self, number: int) -> None:
        for _ in range(number):
            self.now += timedelta(seconds=1)
            await self.standin.settle()

    async def story(self, seconds: int) -> list[tuple[str, str]]:
        """Both fields of the RayJob, each pair once, in the order in which watchers see them."""
        await self.standin.settle()
        await self.seconds(seconds)
        statuses = [change.after.get("status", {}) for change in self.store.changes(RAY_JOBS, 0) if change.after]
        pairs = [(status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")) for status in statuses]
        return [pair for number, pair in enumerate(pairs) if number == 0 or pairs[number - 1] != pair]

    def status(self, key: ObjectKey = JOB) -> Json:
        status: Json = self.store.get(key).get("status", {})
        return status

    def names(self, resource: Any) -> list[str]:
        return [key.name for key in sorted(self.store.objects) if key.resource == resource]


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


START = [("", ""), ("Initializing", ""), ("Running", ""), ("Running", "PENDING"), ("Running", "RUNNING")]
STORIES = {
    "succeeds": (played.SUCCEEDS, {}, [*START, ("Running", "SUCCEEDED"), ("Complete", "SUCCEEDED")]),
    "fails": (played.FAILS, {}, [*START, ("Running", "FAILED"), ("Failed", "FAILED")]),
    "fails, retried": (played.FAILS, {"backoffLimit": 1}, [*START, ("Running", "FAILED"), ("Retrying", "FAILED"),
         *START, ("Running", "FAILED"), ("Failed", "FAILED")]),
    "stopped": (played.STOPS, {}, [*START, ("Running", "STOPPED"), ("Complete", "STOPPED")]),
    "head out of memory": (played.HEAD_OOM, {}, [*START, ("Failed", "RUNNING")]),
    "head evicted": (played.HEAD_EVICTED, {}, [*START, ("Failed", "RUNNING")]),
    "no image": (played.NO_IMAGE, {"preRunningDeadlineSeconds": 9}, [*START[:2], ("Failed", "")]),
    "not submitted": (played.NOT_SUBMITTED, {}, [*START[:3], ("Failed", "")]),
    "deadline": (played.HANGS, {"activeDeadlineSeconds": 9}, [*START, ("Failed", "RUNNING")]),
}  # fmt: skip


@pytest.mark.parametrize(("attempt", "spec", "story"), STORIES.values(), ids=STORIES)
def test_both_fields_as_a_watcher_sees_them(attempt: Attempt, spec: dict[str, Any], story: list[tuple[str,
     str]]) -> None:  # fmt: skip
    async def scenario() -> None:
        stage = Stage(Script(job=attempt))
        await stage.cluster.create(rayjob(**spec))
        assert await stage.story(25) == story
        assert stage.names(RAY_CLUSTERS) == []  # shutdownAfterJobFinishes
        assert stage.standin.errors == []

    play(scenario)


def test_a_job_is_submitted_once_and_not_before_its_cluster_is_ready() -> None:
    async def scenario() -> None:
        stage = Stage(Script(job=Attempt(played.SUCCEEDS.moments, ready_after=5)))
        await stage.cluster.create(rayjob())
        await stage.standin.settle()
        assert stage.ray.submissions == {}
        await stage.seconds(20)
        assert list(stage.ray.submissions.values()) == [1]

    play(scenario)


PODS_TELL = {
    "unschedulable": (played.UNSCHEDULABLE, 3, "Pending", "Unschedulable"),
    "no image": (played.NO_IMAGE, 3, "Pending", "ImagePullBackOff"),
    "head out of memory": (played.HEAD_OOM, 7, "Running", "OOMKilled"),
    "worker out of memory": (played.WORKER_OOM, 7, "Running", "OOMKilled"),
}


@pytest.mark.parametrize(("attempt", "after", "phase", "word"), PODS_TELL.values(), ids=PODS_TELL)
def test_pods_show_what_befell_them(attempt: Attempt, after: int, phase: str, word: str) -> None:
    async def scenario() -> None:
        stage = Stage(Script(job=attempt))
        await stage.cluster.create(rayjob())
        await stage.standin.settle()
        await stage.seconds(after)
        shown = [stage.store.get(ObjectKey(PODS, NAMESPACE, name)) for name in stage.names(PODS)]
        struck = [pod for pod in shown if word in json.dumps(pod["status"])]
        assert struck
        assert {pod["status"]["phase"] for pod in struck} == {phase}

    play(scenario)


@pytest.mark.parametrize("attempt", [played.HEAD_EVICTED, played.PREEMPTED], ids=["evicted", "preempted"])
def test_a_pod_that_is_gone_for_good_is_made_anew_so_its_end_is_seen_only_once(attempt: Attempt) -> None:
    async def scenario() -> None:
        stage = Stage(Script(job=attempt))
        await stage.cluster.create(rayjob())
        await stage.standin.settle()
        await stage.seconds(4)
        before = stage.names(PODS)
        await stage.seconds(2)
        failed = [
            change.after["status"]
            for change in stage.store.changes(PODS, 0)
            if change.after and change.after["status"]["phase"] == "Failed"
        ]
        assert len(failed) == 1
        assert stage.names(PODS) != before
        assert len(stage.names(PODS)) == 2

    play(scenario)


def test_the_driver_writes_its_document_and_obeys_control_stop() -> None:
    async def scenario() -> None:
        said = {"schema": 1, "phase": "Training"}
        attempt = Attempt((*played.HANGS.moments, Moment(2, document=said)), suspended={"phase": "Suspended"})
        stage = Stage(Script(job=attempt))
        await stage.cluster.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STATUS.name, "namespace": NAMESPACE}}
        )
        await stage.cluster.create(rayjob())
        await stage.standin.settle()
        await stage.seconds(5)
        assert json.loads(stage.store.get(STATUS)["data"]["status.json"]) == said
        await stage.cluster.patch(STATUS, {"data": {"control": "stop"}})
        await stage.seconds(4)
        assert json.loads(stage.store.get(STATUS)["data"]["status.json"]) == {"phase": "Suspended"}
        assert (stage.status()["jobDeploymentStatus"], stage.status()["jobStatus"]) == ("Failed", "FAILED")
        assert "exit code 143" in stage.status()["message"]

    play(scenario)


def test_suspend_and_resume_begin_from_nothing() -> None:
    async def scenario() -> None:
        stage = Stage(Script(job=played.HANGS))
        await stage.cluster.create(rayjob())
        await stage.standin.settle()
        await stage.seconds(3)
        first = stage.status()
        await stage.cluster.patch(JOB, {"spec": {"suspend": True}})
        await stage.seconds(1)
        assert stage.status()["jobDeploymentStatus"] == "Suspended"
        assert stage.names(RAY_CLUSTERS) == stage.names(PODS) == []
        await stage.cluster.patch(JOB, {"spec": {"suspend": False}})
        await stage.seconds(3)
        second = stage.status()
        assert second["jobStatus"] == "RUNNING"
        for name in ("jobId", "rayClusterName", "startTime"):
            assert second[name] != first[name]

    play(scenario)


def test_a_deleted_job_leaves_nothing() -> None:
    async def scenario() -> None:
        stage = Stage(Script(job=played.HANGS))
        await stage.cluster.create(rayjob())
        await stage.standin.settle()
        await stage.seconds(3)
        await stage.cluster.delete(JOB)
        await stage.standin.settle()
        assert stage.store.objects == {}

    play(scenario)


def test_an_upgrade_is_seen_by_real_requests() -> None:
    async def scenario() -> None:
        stage = Stage(Script(services={"tiny@3": played.NEVER_HEALTHY}))
        await stage.cluster.create(rayservice())
        assert not (await stage.standin.ask(URL)).healthy
        await stage.seconds(5)
        assert (await stage.standin.ask(URL)).version == "tiny@1"
        for version, healthy in (("tiny@2", True), ("tiny@3", False)):
            spec = {
                "serveConfigV2": serve_config(version),
                "rayClusterConfig": cluster_spec(headGroupSpec=group(image=version[-1])),
            }
            await stage.cluster.patch(SERVICE, {"spec": spec})
            await stage.standin.settle()
            assert condition_of(stage.status(SERVICE), "UpgradeInProgress")["status"] == "True"
            await stage.seconds(5)
            assert condition_of(stage.status(SERVICE), "UpgradeInProgress")["status"] == "False"
            assert (await stage.standin.ask(URL)).healthy == healthy
        await stage.seconds(65)
        assert len(stage.names(RAY_CLUSTERS)) == 1
        assert stage.standin.errors == []

    play(scenario)


def test_the_autoscaler_gives_each_replica_a_worker_within_bounds() -> None:
    async def scenario() -> None:
        stage = Stage()
        workers = {**group("workers"), "minReplicas": 1, "maxReplicas": 3}
        await stage.cluster.create(
            rayservice(rayClusterConfig=cluster_spec(enableInTreeAutoscaling=True, workerGroupSpecs=[workers]))
        )
        await stage.seconds(5)
        for replicas, nodes in ((2, 3), (9, 4)):
            await stage.cluster.patch(
                SERVICE,
                {
                    "spec": {
                        "serveConfigV2": serve_config(
                            "tiny@1", deployments=[{"name": "replica", "num_replicas": replicas}]
                        )
                    }
                },
            )
            await stage.seconds(3)
            assert len(stage.names(PODS)) == nodes
        assert len(stage.names(RAY_CLUSTERS)) == 1

    play(scenario)


def test_it_goes_on_after_a_conflict() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.cluster.create(rayjob())
        patch = stage.cluster.patch

        async def meddling(key: ObjectKey, body: Json, **words: Any) -> Json:
            stage.cluster.patch = patch  # type: ignore[method-assign]
            await patch(key, {"metadata": {"labels": {"touched": "yes"}}})
            return await patch(key, body, **words)

        stage.cluster.patch = meddling  # type: ignore[method-assign,assignment]
        assert (await stage.story(20))[-1] == ("Complete", "SUCCEEDED")
        assert [error.code for error in stage.standin.errors] == [409]

    play(scenario)


def test_running_it_follows_the_watch() -> None:
    async def scenario() -> None:
        store = Store()
        cluster, stop = MemoryCluster(store), asyncio.Event()
        ray = ScriptedRay(Script(job=Attempt((Moment(0, job="SUCCEEDED", submitter="finished"),), ready_after=0)))
        running = asyncio.create_task(StandIn(cluster, ray).run(stop, every_seconds=60))
        await cluster.create(rayjob())
        async with asyncio.timeout(20):
            while store.get(JOB).get("status", {}).get("jobDeploymentStatus") != "Complete":
                await asyncio.sleep(0.01)
        stop.set()
        await running

    play(scenario)
