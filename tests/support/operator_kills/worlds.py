"""What there is in the namespace of a run, and what ever was, as watches tell it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from modelyard_operator.cluster.api import ClusterError
from modelyard_operator.cluster.rest import RestCluster
from modelyard_operator.kinds.names import KIND_LABEL, MANAGED_BY, NAME_LABEL
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVALUATION_JOBS,
    EVENTS,
    MODEL_DEPLOYMENTS,
    NETWORK_POLICIES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    RAY_CLUSTERS,
    RAY_JOBS,
    RAY_SERVICES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    TRAINING_JOBS,
    Json,
    ObjectKey,
    Resource,
)
from support.kuberay.vocabulary import EXTERNAL_MANAGER

FOREIGN = (CONFIG_MAPS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, RAY_JOBS, RAY_SERVICES)
_CHILDREN = (*FOREIGN, POD_DISRUPTION_BUDGETS, RAY_CLUSTERS)
FOLLOWED = (TRAINING_JOBS, EVALUATION_JOBS, MODEL_DEPLOYMENTS, *_CHILDREN, EVENTS)
_JOBS = ("trainingjob", "evaluationjob")
_PLANTING_SECONDS = 5.0  # for the server's own controllers, who may write into what is new
_GLANCE_SECONDS = 0.2


@dataclass
class World:
    """`objects` are there now, `uids` were ever there; `planted` is somebody else's, as it was planted."""

    cluster: RestCluster
    namespace: str
    objects: dict[ObjectKey, Json] = field(default_factory=dict)
    uids: dict[ObjectKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    planted: dict[ObjectKey, Json] = field(default_factory=dict)

    def key(self, resource: Resource, name: str) -> ObjectKey:
        """Where an object of the namespace lies."""
        return ObjectKey(resource, self.namespace, name)

    def get(self, resource: Resource, name: str) -> Json:
        """An object; empty while there is none."""
        return self.objects.get(self.key(resource, name), {})

    def below(self, name: str, *resources: Resource) -> list[ObjectKey]:
        """What is there under names that begin with a parent's: its children, and theirs."""
        return [key for key in self.objects if key.resource in resources and key.name.startswith(f"{name}-")]

    def left(self, name: str) -> list[ObjectKey]:
        """What a run of jobs of that name, or of its gate, has left; snapshots stay."""
        return [key for key in self.below(name, *_CHILDREN) if self._is_of_a_run(key)]

    def _is_of_a_run(self, key: ObjectKey) -> bool:
        is_snapshot = key.resource == CONFIG_MAPS and not key.name.endswith("-status")
        labels = self.objects[key]["metadata"].get("labels") or {}
        return labels.get(KIND_LABEL) in _JOBS and not is_snapshot

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until it holds of what there is."""
        while not holds():
            await asyncio.sleep(_GLANCE_SECONDS)

    async def read(self, resource: Resource) -> str:
        """Look at a kind anew; returns the version from which a watch goes on."""
        found: dict[ObjectKey, Json] = {}
        more = ""
        while True:
            page = await self.cluster.list(resource, namespace=self.namespace, more=more)
            found |= {self.key(resource, item["metadata"]["name"]): item for item in page.items}
            if not (more := page.more):
                break
        for key in [key for key in self.objects if key.resource == resource and key not in found]:
            del self.objects[key]
        for key, item in found.items():
            self._note(key, item)
        return page.resource_version

    async def follow(self, resource: Resource) -> None:
        """Note every object of a kind, from now on."""
        while True:
            with suppress(ClusterError):
                version = await self.read(resource)
                while True:
                    version = await self._watch(resource, version)
            await asyncio.sleep(_GLANCE_SECONDS)

    async def _watch(self, resource: Resource, version: str) -> str:
        events = self.cluster.watch(
            resource, namespace=self.namespace, resource_version=version, timeout_seconds=300
        )  # fmt: skip
        async for event in events:
            metadata = event.item["metadata"]
            version = metadata["resourceVersion"]
            if event.type == "DELETED":
                self.objects.pop(self.key(resource, metadata["name"]), None)
            elif event.type != "BOOKMARK":
                self._note(self.key(resource, metadata["name"]), event.item)
        return version

    def _note(self, key: ObjectKey, item: Json) -> None:
        self.objects[key] = item
        self.uids[key].add(item["metadata"]["uid"])


async def plant(world: World, kind: str, name: str) -> None:
    """The claim that parents name, and somebody else's objects with the labels of a parent's children."""
    labels = {**MANAGED_BY, KIND_LABEL: kind.lower(), NAME_LABEL: name}
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    await world.cluster.create(_object(PERSISTENT_VOLUME_CLAIMS, world, "yard", {}, {"spec": claim}))
    for resource in FOREIGN:
        await world.cluster.create(_object(resource, world, "theirs", labels, _BODIES.get(resource, {})))
    await asyncio.sleep(_PLANTING_SECONDS)
    for resource in FOREIGN:
        key = world.key(resource, "theirs")
        world.planted[key] = await world.cluster.get(key)


def _object(resource: Resource, world: World, name: str, labels: Json, body: Json) -> dict[str, Any]:
    metadata = {"name": name, "namespace": world.namespace, "labels": dict(labels)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **body}


_POD = {"spec": {"containers": [{"name": "theirs", "image": "registry.example.com/theirs:1"}]}}
_BODIES: dict[Resource, dict[str, Any]] = {
    ROLE_BINDINGS: {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "theirs"}},
    NETWORK_POLICIES: {"spec": {"podSelector": {}}},
    RAY_JOBS: {"spec": {"managedBy": EXTERNAL_MANAGER}},
    RAY_SERVICES: {"spec": {"managedBy": EXTERNAL_MANAGER, "rayClusterConfig": {"headGroupSpec": {"template": _POD}}}},
}


async def touched(world: World) -> Iterator[str]:
    """In words, what is somebody else's and was changed."""
    found = []
    for key, item in world.planted.items():
        if (await world.cluster.get(key))["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            found.append(f"{key}: is somebody else's, and was touched")
    return iter(found)
