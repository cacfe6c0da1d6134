"""A job and the world around it on the in-memory twin, moved by hand: KubeRay, pods, the driver, the clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.spec import to_dict
from modelyard_operator.cluster.executing import execute
from modelyard_operator.cluster.memory import MemoryCluster
from modelyard_operator.cluster.observing import observe
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.actions import Action, Requeue
from modelyard_operator.kinds.names import child_name, status_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    RAY_JOBS,
    RESOURCES,
    Json,
    ObjectKey,
    Resource,
    key_of,
    owner_reference,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan import interest, plan
from support.manifests import EVALUATION, TRAINING, the

SETTINGS = Settings()
NAMESPACE = "team"
BEGIN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def job(text: str = TRAINING, **spec: Any) -> dict[str, Any]:
    """A custom resource made of a manifest's text, with storage; `spec` replaces members."""
    value = to_dict(the(text), defaults=False)
    value["metadata"] = {"name": value["metadata"]["name"], "namespace": NAMESPACE}
    value["spec"] = {**value["spec"], "storage": {"claimName": "yard"}, **spec}
    return value


def evaluation(**spec: Any) -> dict[str, Any]:
    """An EvaluationJob of a model folder: nothing of the registry is needed."""
    return job(EVALUATION, **{"target": {"model": "./folder"}, **spec})


def claim(name: str = "yard", *modes: str) -> dict[str, Any]:
    """A PersistentVolumeClaim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"accessModes": list(modes or ("ReadWriteMany",)), "resources": {"requests": {"storage": "1Gi"}}},
    }


def failure(failure_class: str, message: str = "it broke", **more: Any) -> dict[str, Any]:
    """A failure digest as the driver writes it."""
    return {"class": failure_class, "message": message, "retryable": False, **more}


@dataclass
class World:
    """One parent on a twin. `tick` moves the clock, `settle` reconciles until nothing is left to do."""

    parent_key: ObjectKey
    store: Store
    clock: list[datetime] = field(default_factory=lambda: [BEGIN])

    @property
    def now(self) -> datetime:
        return self.clock[0]

    def tick(self, seconds: float) -> None:
        self.clock[0] += timedelta(seconds=seconds)

    def observation(self) -> Observation:
        door = MemoryCluster(self.store)
        seen = asyncio.run(observe(door, self.parent_key, lambda parent: interest(parent, SETTINGS), now=self.now))
        assert seen is not None
        return seen

    def step(self) -> list[Action]:
        """One reconcile; returns what was planned, looking again later aside."""
        return self.carry_out(self.observation())

    def carry_out(self, seen: Observation) -> list[Action]:
        """Plan for what was seen, be it stale, and do it."""
        actions = plan(seen, SETTINGS)
        self.do(seen, actions)
        return [action for action in actions if not isinstance(action, Requeue)]

    def do(self, seen: Observation, actions: Sequence[Action]) -> None:
        """Carry actions out."""
        asyncio.run(execute(MemoryCluster(self.store), seen.parent, actions, lambda: self.now))

    def settle(self, most: int = 5) -> int:
        """Reconcile until a plan is empty; returns how many were not."""
        for done in range(most):
            if self.parent_key not in self.store.objects or not self.step():
                return done
        raise AssertionError(f"after {most} reconciles there is still something to do: {self.step()}")

    def requeue(self) -> float | None:
        """When the plan wants to look again."""
        return next((a.after_seconds for a in plan(self.observation(), SETTINGS) if isinstance(a, Requeue)), None)

    @property
    def parent(self) -> Json:
        return self.store.objects[self.parent_key]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.parent.get("status") or {})

    def condition(self, kind: str) -> tuple[str, str]:
        """(status, reason) of a condition; empty texts when it is not set."""
        found = next((one for one in self.status.get("conditions", ()) if one["type"] == kind), {})
        return found.get("status", ""), found.get("reason", "")

    def message(self, kind: str) -> str:
        return next(one["message"] for one in self.status["conditions"] if one["type"] == kind)

    def names(self, resource: Resource) -> list[str]:
        return sorted(key.name for key in self.store.objects if key.resource == resource)

    def get(self, resource: Resource, name: str) -> Json:
        return self.store.objects[ObjectKey(resource, NAMESPACE, name)]

    def events(self) -> list[tuple[str, str]]:
        """(type, reason) of the events so far, in order."""
        return [(e["type"], e["reason"]) for key, e in self.store.objects.items() if key.resource == EVENTS]

    def edit(self, **spec: Any) -> None:
        """A user's edit of the job's spec."""
        self.store.patch(self.parent_key, {"spec": spec})

    def rayjob(self, attempt: int = 1) -> ObjectKey:
        return ObjectKey(RAY_JOBS, NAMESPACE, child_name(self.parent, attempt))

    def record(self, attempt: int = 1) -> ObjectKey:
        return ObjectKey(CONFIG_MAPS, NAMESPACE, status_name(child_name(self.parent, attempt)))

    def kuberay(self, deployment: str, job_status: str = "", attempt: int = 1, **more: Any) -> None:
        """KubeRay moves its two status fields."""
        status = {"jobDeploymentStatus": deployment, "jobStatus": job_status, **more}
        self.store.patch(self.rayjob(attempt), {"status": status}, subresource="status")

    def driver(self, phase: str, attempt: int = 1, **fields: Any) -> None:
        """The driver writes its document."""
        kind, name = self.parent["kind"], self.parent["metadata"]["name"]
        document = {"schema": 1, "kind": kind, "name": name, "phase": phase, **fields}
        self.write(json.dumps(document), attempt)

    def write(self, text: str, attempt: int = 1) -> None:
        """Something writes into the status ConfigMap."""
        self.store.patch(self.record(attempt), {"data": {"status.json": text}})

    def pod(self, status: Mapping[str, Any], name: str = "worker", attempt: int = 1, **labels: str) -> None:
        """A pod of the attempt's cluster, which is made when there is none, with a status."""
        rayjob = self.store.objects[self.rayjob(attempt)]
        cluster = self.child("ray.io/v1", "RayCluster", f"{rayjob['metadata']['name']}-abcde", rayjob)
        pod = self.child("v1", "Pod", name, cluster, labels)
        self.store.patch(key_of(pod), {"status": dict(status)}, subresource="status")

    def child(self, version: str, kind: str, name: str, owner: Json, labels: Mapping[str, str] | None = None) -> Json:
        item = {
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": dict(labels or {}),
                "ownerReferences": [owner_reference(owner)],
            },
        }
        return self.store.objects.get(key_of(item)) or self.store.create(item)

    def run(self, attempt: int = 1) -> None:
        """The attempt's driver is at work."""
        self.kuberay("Running", "RUNNING", attempt, startTime=self.now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.driver("Training" if self.parent["kind"] == "TrainingJob" else "Running", attempt)
        self.settle()


def world(
    parent: Mapping[str, Any] | None = None,
    *around: Mapping[str, Any],
    served: Sequence[Resource] = RESOURCES,
    with_claim: bool = True,
) -> World:
    """A twin that holds a job (a small TrainingJob unless told otherwise), its claim, and what else is given."""
    clock = [BEGIN]
    store = Store(served=frozenset(served), now=lambda: clock[0])
    items = [*([claim()] if with_claim else []), *around]
    for item in items:
        store.create(item)
    created = store.create(dict(parent) if parent is not None else job())
    return World(key_of(created), store, clock)


def claim_key(name: str = "yard") -> ObjectKey:
    return ObjectKey(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, name)
