"""A job's plans on a real API server: its schemas, defaults and refusals, which the twin does not have.

After every step the plan is empty: nothing that the server adds, drops or spells otherwise is written again.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard_operator.cluster.api import Cluster, InvalidError
from modelyard_operator.cluster.executing import execute
from modelyard_operator.cluster.observing import observe
from modelyard_operator.cluster.rest import open_rest
from modelyard_operator.kinds.actions import Action, Requeue
from modelyard_operator.kinds.names import child_name, status_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    RAY_JOBS,
    ROLES,
    TRAINING_JOBS,
    Json,
    ObjectKey,
    Resource,
    key_of,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan import interest, plan
from support.apiserver import ApiServer, Namespace
from support.job_worlds import SETTINGS, claim, failure, job, world

RUNTIME: dict[str, Any] = {
    "image": "example.test/mine:1",
    "imagePullSecrets": [{"name": "pull"}],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "envFrom": [{"secretRef": {"name": "all"}}],
    "volumes": [{"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
    "sharedMemory": "1Gi",
    "queue": "gold",
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
}


@dataclass
class Played:
    """A TrainingJob in a namespace of a server; the clock and KubeRay are moved by hand."""

    cluster: Cluster
    namespace: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(TRAINING_JOBS, self.namespace, "small")

    async def create(self, item: dict[str, Any]) -> None:
        metadata = {**item["metadata"], "namespace": self.namespace}
        await self.cluster.create({**item, "metadata": metadata})

    async def seen(self) -> Observation:
        seen = await observe(self.cluster, self.key, lambda parent: interest(parent, SETTINGS), now=self.now)
        assert seen is not None
        return seen

    async def step(self) -> list[Action]:
        """One reconcile, after which the next has nothing to do."""
        seen = await self.seen()
        actions = plan(seen, SETTINGS)
        await execute(self.cluster, seen.parent, actions)
        left = [action for action in plan(await self.seen(), SETTINGS) if not isinstance(action, Requeue)]
        assert left == []
        return actions

    async def status(self) -> dict[str, Any]:
        return dict((await self.cluster.get(self.key)).get("status") or {})

    async def condition(self, kind: str) -> tuple[str, str]:
        found = next((one for one in (await self.status())["conditions"] if one["type"] == kind), {})
        return found.get("status", ""), found.get("reason", "")

    async def names(self, resource: Resource) -> list[str]:
        page = await self.cluster.list(resource, namespace=self.namespace)
        return [item["metadata"]["name"] for item in page.items if "small" in item["metadata"]["name"]]

    async def child(self, attempt: int) -> Json:
        name = child_name(await self.cluster.get(self.key), attempt)
        return await self.cluster.get(ObjectKey(RAY_JOBS, self.namespace, name))

    async def kuberay(self, attempt: int, deployment: str, ray: str, **more: str) -> None:
        body = {"status": {"jobDeploymentStatus": deployment, "jobStatus": ray, **more}}
        await self.cluster.patch(key_of(await self.child(attempt)), body, subresource="status")

    async def driver(self, attempt: int, phase: str, **fields: Any) -> None:
        document = {"schema": 1, "kind": "TrainingJob", "name": "small", "phase": phase, **fields}
        name = status_name((await self.child(attempt))["metadata"]["name"])
        await self.cluster.patch(
            ObjectKey(CONFIG_MAPS, self.namespace, name), {"data": {"status.json": json.dumps(document)}}
        )


async def story(played: Played) -> None:
    """Refused, healed, run, failed, suspended, changed, resumed, done."""
    await played.create(job(runtime=RUNTIME))
    await played.step()
    assert await played.condition("Accepted") == ("False", "StorageNotReady")
    await played.create(claim())
    await played.step()
    assert await played.condition("Accepted") == ("True", "ManifestAccepted")
    made = await played.child(1)
    assert made["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 2

    await played.kuberay(1, "Running", "RUNNING", startTime=played.now.isoformat(), dashboardURL="head:8265")
    metrics = {"loss": 2.0, "evaluation": [{"suite": "heldout", "metric": "perplexity", "value": 9.0, "items": 3}]}
    commit = {"step": 20, "path": "train/checkpoints/step-20", "time": "2026-11-22T08:00:00Z"}
    await played.driver(
        1, "Training", runId="x", progress={"stage": "train", "step": 20}, metrics=metrics, checkpoint=commit
    )
    await played.step()
    status = await played.status()
    assert (status["phase"], status["metrics"]["loss"], status["checkpoint"]["step"]) == ("Training", 2, 20)
    with pytest.raises(InvalidError, match="cannot change once the job is accepted"):
        await played.cluster.patch(played.key, {"spec": {"objective": "masked-lm"}})

    await played.kuberay(1, "Failed", "FAILED", reason="AppFailed", message="exit code 137")
    await played.step()
    assert await played.condition("Progressing") == ("True", "Retrying")
    played.now += timedelta(seconds=30)
    await played.step()
    assert (await played.status())["attempts"] == 2

    await played.kuberay(2, "Running", "RUNNING", startTime=played.now.isoformat())
    await played.driver(2, "Training")
    await played.cluster.patch(played.key, {"spec": {"suspend": True}})
    await played.step()
    await played.driver(2, "Suspended", lastFailure=failure("Interrupted"))
    await played.kuberay(2, "Failed", "FAILED", reason="AppFailed")
    await played.step()
    assert (await played.condition("Suspended"), await played.names(RAY_JOBS)) == (("True", "Suspended"), [])
    await played.cluster.patch(played.key, {"spec": {"workers": {"count": 1}}})
    played.now += timedelta(seconds=60)
    await played.cluster.patch(played.key, {"spec": {"suspend": False}})
    await played.step()
    assert (await played.child(3))["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 1

    await played.driver(3, "Succeeded")
    await played.kuberay(3, "Complete", "SUCCEEDED")
    await played.step()
    assert await played.condition("Complete") == ("True", "Completed")
    assert (await played.names(RAY_JOBS), await played.names(ROLES)) == ([], [])


def test_every_step_of_a_jobs_life_settles_on_the_server(api_server: ApiServer, namespace: Namespace) -> None:
    if not api_server.checks_rules:
        pytest.skip("this API server is too old to check the CRDs' rules (CEL: from 1.25)")

    async def play() -> None:
        async with open_rest(api_server.kubeconfig) as cluster:
            await story(Played(cluster, namespace.name))

    asyncio.run(play())


def test_kuberays_schema_knows_every_field_of_the_rayjob(api_server: ApiServer, namespace: Namespace) -> None:
    """A field that a schema does not know is dropped without a word, unless one asks for strictness."""
    made = world(job(runtime=RUNTIME))
    made.settle()
    rayjob = made.store.get(made.rayjob())
    metadata = {**rayjob["metadata"], "namespace": namespace.name, "ownerReferences": []}
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        del metadata[name]
    path = f"/apis/ray.io/v1/namespaces/{namespace.name}/rayjobs?dryRun=All&fieldValidation=Strict"
    taken = api_server.request("POST", path, {**rayjob, "metadata": metadata})
    assert taken["spec"]["entrypoint"] == rayjob["spec"]["entrypoint"]
