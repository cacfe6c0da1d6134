"""A ModelDeployment on the in-memory twin beside KubeRay's stand-in, with a clock that the test moves."""

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
from modelyard_operator.kinds.names import base_name, index_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVALUATION_JOBS,
    EVENTS,
    MODEL_DEPLOYMENTS,
    RAY_CLUSTERS,
    RAY_SERVICES,
    Json,
    ObjectKey,
    Resource,
)
from modelyard_operator.kinds.observations import Observation, Probe
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan import interest, plan, probes
from modelyard_operator.runtime.probing import Tally
from support.job_worlds import claim
from support.kuberay import Script, ScriptedRay, StandIn
from support.manifests import DEPLOYMENT, the

NAMESPACE = "team"
BEGIN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
PLACE = ObjectKey(MODEL_DEPLOYMENTS, NAMESPACE, "small")


def digest(number: int) -> str:
    """Of a version's files."""
    return f"sha256:{number:064x}"


def deployment(**spec: Any) -> dict[str, Any]:
    """A ModelDeployment of `registry://small@stable`, with storage; a member given as None is left out."""
    value = to_dict(the(DEPLOYMENT), defaults=False)
    usual = {"model": "registry://small@stable", "storage": {"claimName": "yard"}, "rollout": {"deadlineSeconds": 60}}
    spec = {**usual, **spec}
    return {
        "apiVersion": value["apiVersion"],
        "kind": value["kind"],
        "metadata": {"name": "small", "namespace": NAMESPACE},
        "spec": {name: member for name, member in spec.items() if member is not None},
    }


def index(digests: Sequence[str], aliases: Mapping[str, int], name: str = "small") -> dict[str, Any]:
    """The registry's index: versions by their digests, aliases by the version that they name."""
    listed = [{"version": number, "digest": one} for number, one in enumerate(digests, 1)]
    named = {alias: {"version": number, "revision": 1, "history": []} for alias, number in aliases.items()}
    document = {"schema": 1, "name": name, "versions": listed, "aliases": named}
    metadata = {"name": index_name(name), "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"index.json": json.dumps(document)}}


@dataclass
class World:
    """`seconds` lets time pass: KubeRay and operator go on in turns. Without `kuberay` only the operator acts."""

    parent: dict[str, Any] = field(default_factory=deployment)
    script: Script = field(default_factory=Script)
    aliases: Mapping[str, int] = field(default_factory=lambda: {"stable": 1})
    digests: Sequence[str] = tuple(digest(number) for number in range(1, 10))
    settings: Settings = field(default_factory=Settings)
    now: datetime = BEGIN

    def __post_init__(self) -> None:
        self.store = Store(now=lambda: self.now)
        self.door = MemoryCluster(self.store)
        self.kuberay = StandIn(self.door, ScriptedRay(self.script), clock=lambda: self.now)
        self.tally = Tally(self._ask, clock=self._clock)
        for item in (claim(), index(self.digests[: max(self.aliases.values(), default=0)], self.aliases), self.parent):
            self.store.create(item)

    def _clock(self) -> float:
        return self.now.timestamp()

    async def _ask(self, url: str) -> Probe:
        return await self.kuberay.ask(url)

    def observation(self) -> Observation:
        async def look() -> Observation | None:
            return await observe(
                self.door, PLACE, lambda parent: interest(parent, self.settings), probes=probes, ask=self.tally.ask,
                now=self.now,
            )  # fmt: skip

        seen = asyncio.run(look())
        assert seen is not None
        return seen

    def plan(self) -> list[Action]:
        return [action for action in plan(self.observation(), self.settings) if not isinstance(action, Requeue)]

    def requeue(self) -> float:
        """When the plan wants to look again."""
        return min(one.after_seconds for one in plan(self.observation(), self.settings) if isinstance(one, Requeue))

    def step(self) -> list[Action]:
        """One reconcile; returns what was planned, looking again later aside."""
        seen = self.observation()
        actions = plan(seen, self.settings)
        asyncio.run(execute(self.door, seen.parent, actions, lambda: self.now))
        return [action for action in actions if not isinstance(action, Requeue)]

    def settle(self, most: int = 6) -> int:
        """Reconcile until a plan is empty; returns how many were not."""
        for done in range(most):
            if not self.step():
                return done
        raise AssertionError(f"after {most} reconciles there is still something to do: {self.plan()}")

    def seconds(self, number: int) -> None:
        """Time passes; KubeRay and the operator act once a second, and until both rest at the end."""
        for _ in range(number):
            self.now += timedelta(seconds=1)
            asyncio.run(self.kuberay.settle())
            self.settle()

    def later(self, number: float) -> None:
        """So many seconds later, all of a sudden: what the clock decides is decided then."""
        self.now += timedelta(seconds=number)
        for _ in range(2):
            asyncio.run(self.kuberay.settle())
            self.settle()

    def get(self, resource: Resource, name: str) -> dict[str, Any]:
        return dict(self.store.get(ObjectKey(resource, NAMESPACE, name)))

    def names(self, resource: Resource) -> list[str]:
        return [key.name for key in sorted(self.store.objects) if key.resource == resource]

    def change(self, key: ObjectKey, body: Json, subresource: str = "") -> None:
        self.store.patch(key, body, subresource=subresource)

    def spec(self, **members: Any) -> None:
        """Change the ModelDeployment's spec."""
        self.change(PLACE, {"spec": members})

    def index(self, versions: int, **aliases: int) -> None:
        """The registry has so many versions now, and these aliases."""
        self.change(
            ObjectKey(CONFIG_MAPS, NAMESPACE, index_name("small")),
            {"data": index(self.digests[:versions], aliases)["data"]},
        )

    @property
    def base(self) -> str:
        return base_name(self.store.get(PLACE))

    @property
    def service(self) -> dict[str, Any]:
        """The RayService."""
        return self.get(RAY_SERVICES, self.base)

    @property
    def service_key(self) -> ObjectKey:
        return ObjectKey(RAY_SERVICES, NAMESPACE, self.base)

    @property
    def clusters(self) -> list[dict[str, Any]]:
        return [self.get(RAY_CLUSTERS, name) for name in self.names(RAY_CLUSTERS)]

    @property
    def gate(self) -> ObjectKey:
        """The only EvaluationJob."""
        (name,) = self.names(EVALUATION_JOBS)
        return ObjectKey(EVALUATION_JOBS, NAMESPACE, name)

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.store.get(PLACE).get("status") or {})

    @property
    def said(self) -> tuple[str, str]:
        """The phase, and the reason of Progressing."""
        return self.status["phase"], self.condition("Progressing")[1]

    @property
    def serves(self) -> int | None:
        """The number of the version that the status says is served."""
        number: int | None = self.status.get("model", {}).get("version")
        return number

    def condition(self, kind: str) -> tuple[str, str]:
        """(status, reason) of a condition; empty texts when it is not set."""
        found = next((one for one in self.status.get("conditions", ()) if one["type"] == kind), {})
        return found.get("status", ""), found.get("reason", "")

    def message(self, kind: str) -> str:
        return next(one["message"] for one in self.status["conditions"] if one["type"] == kind)

    def told(self) -> list[tuple[str, str]]:
        """(reason, message) of the Events, in the order of their creation."""
        found = [self.store.objects[key] for key in self.store.objects if key.resource == EVENTS]
        ordered = sorted(found, key=lambda item: int(item["metadata"]["resourceVersion"]))
        return [(item["reason"], item["message"]) for item in ordered]
