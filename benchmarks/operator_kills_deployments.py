"""Kill the operator, by seed, amid a stream of ModelDeployments on a real API server: nothing comes out otherwise.

    python benchmarks/operator_kills_deployments.py                  # 50 kills
    python benchmarks/operator_kills_deployments.py --kills 10 --seed 3

As `operator_kills.py`: every life of the operator gets a new deployment and is ended by SIGKILL. One deploys; one gets
a new version; one is rolled back, for its new version cannot start; of two whose new version is evaluated first, the
gate refuses one and lets one through; one is scaled to three; one is deleted. KubeRay, the models and the evaluations
are played by script; an HTTP server answers for the Services, so the operator's probes are real requests. One of each
is played first by an operator that nobody kills, and the others must end as they did: statuses, Events, children, each
created once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from modelyard_operator.kinds.conditions import PROGRESSING, condition_of
from modelyard_operator.kinds.names import index_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVENTS,
    MODEL_DEPLOYMENTS,
    RAY_CLUSTERS,
    RESOURCES,
)
from support.crashes.scenarios import GATED, verdict
from support.deployment_worlds import deployment, digest, index
from support.kuberay import Attempt, Script
from support.kuberay import scripts as played
from support.kuberay.scripts import Serving
from support.operator_kills.runs import Stream, main
from support.operator_kills.worlds import World

LIVES_SECONDS = 4.0  # after it has read the cluster, at most: before it plans anything it asks what serves
PATIENCE_SECONDS = 900.0  # for what is under way at the end: KubeRay keeps an old cluster for 60 s; a busy machine more
ROLLOUT = {"deadlineSeconds": 1800}  # longer than any run, else time alone would roll one back
ENDS = {  # reason of Progressing, version that serves, replicas
    "stays": ("RolledOut", 1, 1),
    "turns": ("RolledOut", 2, 1),
    "rolls": ("RolledBack", 1, 1),
    "refused": ("GateFailed", 1, 1),
    "passes": ("RolledOut", 2, 1),
    "grows": ("RolledOut", 1, 3),
}
PLOTS = (*ENDS, "goes")


class Plots(Script):
    """What becomes of a version, or of the evaluation before it, is in the deployment's name: `<plot>-<number>`."""

    def attempt(self, name: str, number: int) -> Attempt:
        """See `Script`."""
        return verdict("Passed" if name.startswith("passes-") else "Failed", name)

    def serving(self, version: str) -> Serving:
        """See `Script`."""
        return played.DEPLOY_FAILS if version.startswith("rolls-") and version.endswith("@2") else played.COMES_UP


async def act(world: World, name: str) -> None:
    """A user's part: a model and a deployment of it; once it serves, another wish."""
    plot, key = name.rpartition("-")[0], world.key(MODEL_DEPLOYMENTS, name)
    item = deployment(model=f"registry://{name}@stable", rollout=ROLLOUT)
    item["metadata"] = {"name": name, "namespace": world.namespace}
    await world.cluster.create(_index(world, name, 1))
    await world.cluster.create(item)
    if plot == "stays":
        return
    await world.until(lambda: _said(world, name) == ENDS["stays"])
    if plot == "grows":
        await world.cluster.patch(key, {"spec": {"replicas": 3}})
    elif plot == "goes":
        await world.cluster.delete(key)
    else:
        if plot in ("refused", "passes"):
            await world.cluster.patch(key, {"spec": {"rollout": {**GATED, **ROLLOUT}}})
        data = _index(world, name, 2)["data"]
        await world.cluster.patch(world.key(CONFIG_MAPS, index_name(name)), {"data": data})


def _index(world: World, name: str, versions: int) -> dict[str, Any]:
    """The registry: so many versions, the newest of which is stable."""
    made = index([digest(number + 1) for number in range(versions)], {"stable": versions}, name)
    made["metadata"]["namespace"] = world.namespace
    return made


def ended(world: World, name: str) -> bool:
    """Whether it has come to its plot's end: one cluster is left, of a gate nothing but its verdict."""
    plot = name.rpartition("-")[0]
    if plot == "goes":
        kinds = [resource for resource in RESOURCES if resource != EVENTS]
        return not world.get(MODEL_DEPLOYMENTS, name) and not world.below(name, *kinds)
    return _said(world, name) == ENDS[plot] and len(world.below(name, RAY_CLUSTERS)) == 1 and not world.left(name)


def _said(world: World, name: str) -> tuple[str, int, int]:
    item = world.get(MODEL_DEPLOYMENTS, name)
    status = item.get("status", {})
    reason = (condition_of(item, PROGRESSING) or {}).get("reason", "")
    return reason, status.get("model", {}).get("version", 0), status.get("readyReplicas", 0)


if __name__ == "__main__":
    stream = Stream(MODEL_DEPLOYMENTS, PLOTS, Plots(), act, ended, LIVES_SECONDS, PATIENCE_SECONDS)
    sys.exit(main(stream, __doc__, kills=50))
