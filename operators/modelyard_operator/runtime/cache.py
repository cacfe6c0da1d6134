"""What the operator knows of the cluster: objects as watches told them, packed, without what no plan looks at.

Of objects that are neither ours nor a child of ours or of KubeRay's only the metadata stays: enough to see that a name
is taken.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from modelyard_operator.cluster.observing import Objects
from modelyard_operator.kinds.names import MANAGED_BY, index_name
from modelyard_operator.kinds.objects import (
    OURS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RAY_JOBS,
    Json,
    ObjectKey,
    Resource,
    key_of,
    resource_of,
)

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # a copy of the whole manifest
_GROUPS = {resource.api_version.partition("/")[0] for resource in (*OURS, RAY_JOBS)}


class Packed(MutableMapping[ObjectKey, Json]):
    """Objects as compressed JSON: a tenth of what dicts take; each read is a fresh copy."""

    def __init__(self) -> None:
        self._packed: dict[ObjectKey, bytes] = {}

    def __getitem__(self, key: ObjectKey) -> Json:
        item: Json = json.loads(zlib.decompress(self._packed[key]))
        return item

    def __setitem__(self, key: ObjectKey, item: Json) -> None:
        self._packed[key] = zlib.compress(json.dumps(item, separators=(",", ":")).encode(), 1)

    def __delitem__(self, key: ObjectKey) -> None:
        del self._packed[key]

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


@dataclass
class Cache:
    """Filled by reflectors, read by workers. `changed` hears of a change: the object, and what controls it, upwards."""

    changed: Callable[[list[ObjectKey]], None] = lambda _lineage: None
    objects: Objects = field(default_factory=lambda: Objects(Packed()))
    served: frozenset[Resource] = frozenset()
    _versions: dict[ObjectKey, str] = field(default_factory=dict)

    def put(self, item: Json) -> None:
        """An object as the server tells it now; the same version again is no news."""
        key, version = key_of(item), item["metadata"]["resourceVersion"]
        if self._versions.get(key) == version:
            return
        before = self.objects.lineage(key)
        self.objects.put(key, trimmed(item))
        self._versions[key] = version
        self.changed(list(dict.fromkeys((*self.objects.lineage(key), *before))))

    def drop(self, key: ObjectKey) -> None:
        """An object is gone."""
        if self._versions.pop(key, None) is not None:
            lineage = self.objects.lineage(key)
            self.objects.drop(key)
            self.changed(lineage)

    def keep(self, resource: Resource, keys: set[ObjectKey]) -> None:
        """A list of a kind is complete: what it did not hold is gone, and the kind is served."""
        for key in self.objects.keys(resource) - keys:
            self.drop(key)
        self._serve(self.served | {resource})

    def forget(self, resource: Resource) -> None:
        """The server does not know the kind (any more)."""
        self.keep(resource, set())
        self._serve(self.served - {resource})

    def version(self, key: ObjectKey) -> str:
        """The resourceVersion that is known of an object; empty when it is not there."""
        return self._versions.get(key, "")

    def _serve(self, served: frozenset[Resource]) -> None:
        if served != self.served:
            self.served = served
            for resource in OURS:
                for key in self.objects.keys(resource):
                    self.changed([key])


def trimmed(item: Json) -> Json:
    """The object without what no plan looks at."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations") or {}
    if _LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    if not _concerns_us(item):
        return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}
    return {**item, "metadata": metadata, **({"spec": _pod_spec(item)} if resource_of(item) == PODS else {})}


def _concerns_us(item: Json) -> bool:
    metadata, resource = item["metadata"], resource_of(item)
    return (
        resource in (*OURS, PERSISTENT_VOLUME_CLAIMS)
        or _is_controlled_by_what_we_watch(metadata)
        or MANAGED_BY.items() <= (metadata.get("labels") or {}).items()
        or metadata["name"].startswith(index_name(""))
    )


def _is_controlled_by_what_we_watch(metadata: Json) -> bool:
    """Whether a kind of ours or KubeRay's controls it: what other operators control may be many, and large."""
    owners = (owner for owner in metadata.get("ownerReferences") or () if owner.get("controller"))
    return any(owner.get("apiVersion", "").partition("/")[0] in _GROUPS for owner in owners)


def _pod_spec(pod: Json) -> dict[str, Any]:
    """Where it runs, and the name, image and resources of its containers."""
    spec = pod.get("spec", {})
    kept = {"nodeName": spec["nodeName"]} if "nodeName" in spec else {}
    containers = [
        {name: container[name] for name in ("name", "image", "resources") if name in container}
        for container in spec.get("containers", ())
    ]
    return {**kept, "containers": containers}
