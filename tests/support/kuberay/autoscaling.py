"""Ray's autoscaler, as far as a RayCluster shows it: it writes the replicas of a worker group itself."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import yaml

from modelyard_operator.cluster.api import Cluster, ConflictError, NotFoundError
from modelyard_operator.kinds.objects import ObjectKey


async def autoscale(cluster: Cluster, key: ObjectKey, config: str) -> None:
    """One worker for a replica of the Serve configuration, in the first group, within its bounds."""
    try:
        item = await cluster.get(key)
    except NotFoundError:
        return
    groups = item["spec"].get("workerGroupSpecs", ())
    if not item["spec"].get("enableInTreeAutoscaling") or not groups or "deletionTimestamp" in item["metadata"]:
        return
    wished = min(max(replicas(config), groups[0].get("minReplicas", 0)), groups[0].get("maxReplicas", 2**31))
    if groups[0].get("replicas") == wished:
        return
    body = {"spec": {"workerGroupSpecs": [{**groups[0], "replicas": wished}, *groups[1:]]}}
    with suppress(ConflictError, NotFoundError):
        await cluster.patch(key, body, resource_version=item["metadata"]["resourceVersion"])


@cache
def applications(config: str) -> tuple[Any, ...]:
    """The applications of a Serve configuration; read once, for the stand-in looks at it in every step."""
    return tuple(yaml.load(config, Loader=yaml.CSafeLoader)["applications"])


def replicas(config: str) -> int:
    """How many replicas a Serve configuration begins with; one for an application that does not say."""
    total = 0
    for application in applications(config):
        numbers = [_number(deployment) for deployment in application.get("deployments", ())]
        total += sum(numbers) if numbers else 1
    return total


def _number(deployment: dict[str, object]) -> int:
    scaling = deployment.get("autoscaling_config")
    if isinstance(scaling, dict):
        return int(scaling.get("initial_replicas", scaling.get("min_replicas", 1)))
    number = deployment.get("num_replicas", 1)
    return number if isinstance(number, int) else 1
