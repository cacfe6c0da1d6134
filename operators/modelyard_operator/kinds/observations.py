"""What a plan may look at: the parent, what exists around it, the clock. Frozen, gathered once per reconcile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelyard_operator.kinds.objects import Json, ObjectKey, Resource, controller_uid, uid_of


@dataclass(frozen=True)
class Probe:
    """What an endpoint answered to a real request. `version` is its header `x-modelyard-version`.

    `failures`: how often in a row it did not answer well, this time included; 0 when it did, or when nobody counts.
    """

    url: str
    healthy: bool
    version: str = ""
    message: str = ""
    failures: int = 0


@dataclass(frozen=True)
class Observation:
    """One parent and the world around it.

    `objects` holds what exists of: everything the parent controls, at any depth (RayJob → RayCluster → Pod), and
    whatever stands under the keys that the plan's `interest` names, ours or not. `served` are the kinds that the
    server knows. `probes` are by URL. Times in `now` are UTC. `refusal` is what the server said when it refused
    something of the plan before; empty when that plan was carried out.
    """

    now: datetime
    parent: Json
    objects: Mapping[ObjectKey, Json] = field(default_factory=dict)
    served: frozenset[Resource] = frozenset()
    probes: Mapping[str, Probe] = field(default_factory=dict)
    refusal: str = ""

    def get(self, key: ObjectKey) -> Json | None:
        """The object that stands there, ours or not."""
        return self.objects.get(key)

    def owned(self, resource: Resource, owner: Json | None = None) -> Iterator[tuple[ObjectKey, Json]]:
        """Objects of a kind that `owner` (the parent, unless told otherwise) controls, by name."""
        uid = uid_of(self.parent if owner is None else owner)
        for key in sorted(self.objects):
            if key.resource == resource and controller_uid(self.objects[key]) == uid:
                yield key, self.objects[key]
