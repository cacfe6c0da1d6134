"""The command `modelyard-operator` with a plan of a few lines: one ConfigMap a parent, stamped again and again.

Run as a process: `python small_operator.py STAMP_SECONDS modelyard-operator's own words`. Every STAMP_SECONDS (0: once)
the ConfigMap's `data.count` grows by one and `data.by` says which process wrote it.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Any

from modelyard_operator.kinds.actions import Action, Create, Emit, Patch, Requeue
from modelyard_operator.kinds.names import MANAGED_BY
from modelyard_operator.kinds.objects import CONFIG_MAPS, Json, ObjectKey, key_of, owner_reference, uid_of
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.runtime.controller import Planner


def key_for(parent: Json) -> ObjectKey:
    """Where the ConfigMap of a parent lies."""
    return ObjectKey(CONFIG_MAPS, parent["metadata"]["namespace"], f"{parent['metadata']['name']}-stamp")


def stamping(every_seconds: float, by: str) -> Planner:
    """A planner that keeps one ConfigMap a parent, and stamps it again when so many seconds have passed."""

    def plan(observation: Observation) -> list[Action]:
        parent, key = observation.parent, key_for(observation.parent)
        standing = observation.get(key)
        if standing is None:
            return [Emit("Normal", "Stamped", "made"), Create(_stamped(parent, key, observation.now, by))]
        told = parent.get("status", {}).get("phase")
        if told != "Preparing":
            body = {"status": {"phase": "Preparing"}}
            metadata = parent["metadata"]
            return [Patch(key_of(parent), body, metadata["uid"], metadata["resourceVersion"], "status")]
        return _again(standing, key, observation.now, every_seconds, by)

    return Planner(plan, lambda parent: (key_for(parent),), lambda _: ())


def _again(standing: Json, key: ObjectKey, now: datetime, every_seconds: float, by: str) -> list[Action]:
    if not every_seconds:
        return []
    left = datetime.fromisoformat(standing["data"]["at"]).timestamp() + every_seconds - now.timestamp()
    if left > 0:
        return [Requeue(left)]
    data = {"count": str(int(standing["data"]["count"]) + 1), "by": by, "at": now.isoformat()}
    return [Patch(key, {"data": data}, uid_of(standing), standing["metadata"]["resourceVersion"])]


def _stamped(parent: Json, key: ObjectKey, now: datetime, by: str) -> dict[str, Any]:
    metadata = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": dict(MANAGED_BY),
        "ownerReferences": [owner_reference(parent)],
    }
    data = {"count": "1", "by": by, "at": now.isoformat()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _planner_of(_: Settings) -> Planner:
    return stamping(float(sys.argv[1]), str(os.getpid()))


if __name__ == "__main__":
    from modelyard_operator.runtime.main import main

    sys.exit(main(sys.argv[2:], _planner_of))
