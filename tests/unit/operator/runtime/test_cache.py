"""The cache: what it keeps of an object, whom a change concerns, and what it weighs."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from modelyard_operator.cluster.observing import Objects, gather
from modelyard_operator.kinds.names import MANAGED_BY
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    PODS,
    RAY_CLUSTERS,
    RAY_JOBS,
    TRAINING_JOBS,
    Json,
    ObjectKey,
    Resource,
    key_of,
    owner_reference,
)
from modelyard_operator.runtime.cache import Cache, Packed, trimmed


def made(resource: Resource, name: str, version: int = 1, owner: Json | None = None, **fields: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "n", "uid": f"uid-{resource.kind}-{name}"}
    metadata |= {"resourceVersion": str(version), **fields.pop("metadata", {})}
    if owner is not None:
        metadata["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


FIELDS = {"metadata": {"managedFields": [{"manager": "somebody"}]}}
APPLIED = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "1"}
OTHERS = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}
FOREIGN = {"name", "namespace", "uid", "resourceVersion"}


@pytest.mark.parametrize(
    ("item", "kept"),
    [
        (made(CONFIG_MAPS, "foreign", data={"a": "1"}), set()),
        (made(CONFIG_MAPS, "modelyard-model-m", data={"a": "1"}), {"data"}),
        (made(CONFIG_MAPS, "ours", data={"a": "1"}, metadata={"labels": MANAGED_BY}), {"data"}),
        (made(CONFIG_MAPS, "child", owner=made(TRAINING_JOBS, "a"), data={"a": "1"}), {"data"}),
        (made(CONFIG_MAPS, "others", data={"a": "1"}, metadata={"ownerReferences": [OTHERS]}), set()),
        (made(RAY_JOBS, "foreign", spec={"a": 1}, status={"b": 2}), set()),
        (made(TRAINING_JOBS, "a", spec={"a": 1}, status={"b": 2}), {"spec", "status"}),
    ],
    ids=lambda value: value["metadata"]["name"] if isinstance(value, dict) else None,
)
def test_of_what_is_not_ours_the_metadata_stays(item: dict[str, Any], kept: set[str]) -> None:
    item["metadata"]["managedFields"] = [{"manager": "somebody"}]
    item["metadata"]["annotations"] = dict(APPLIED)
    found = trimmed(item)
    assert set(found) - {"apiVersion", "kind", "metadata"} == kept
    assert all(found[name] == item[name] for name in kept)
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"a": "1"}
    assert set(item["metadata"]) >= {"managedFields"}  # what came is not touched


def test_of_a_pod_stays_where_it_runs_and_how_it_is() -> None:
    containers = [{"name": "ray", "image": "i", "resources": {"limits": {}}, "env": [{"name": "A", "value": "1"}]}]
    spec = {"nodeName": "one", "containers": containers, "volumes": []}
    pod = made(PODS, "p", owner=made(RAY_CLUSTERS, "c"), spec=spec, status={"phase": "Failed"})
    found = trimmed(pod)
    container = {"name": "ray", "image": "i", "resources": {"limits": {}}}
    assert (found["spec"], found["status"]) == ({"nodeName": "one", "containers": [container]}, {"phase": "Failed"})


def test_a_change_concerns_all_that_stands_above() -> None:
    told: list[list[ObjectKey]] = []
    cache = Cache(told.append)
    job = made(TRAINING_JOBS, "a")
    ray_job = made(RAY_JOBS, "r", owner=job)
    ray_cluster = made(RAY_CLUSTERS, "c", owner=ray_job)
    pod = made(PODS, "p", owner=ray_cluster)
    line = [key_of(item) for item in (pod, ray_cluster, ray_job, job)]
    for item in (job, ray_job, ray_cluster, pod):
        cache.put(item)
    assert told == [line[3:], line[2:], line[1:], line]
    told.clear()
    cache.put(pod)  # the same version: no news
    assert told == []
    cache.drop(line[0])
    cache.drop(line[0])
    assert told == [line]
    told.clear()
    moved = made(PODS, "p", 2, owner=made(RAY_CLUSTERS, "unknown"))
    cache.put(pod)
    cache.put(moved)
    assert told[1] == line  # those that it left are told, too


def test_owners_in_a_circle_end() -> None:
    cache = Cache()
    a, b = made(RAY_JOBS, "a"), made(RAY_CLUSTERS, "b")
    a, b = made(RAY_JOBS, "a", owner=b), made(RAY_CLUSTERS, "b", owner=a)
    cache.put(a)
    cache.put(b)
    assert cache.objects.lineage(key_of(a)) == [key_of(a), key_of(b)]
    assert list(cache.objects.owned("uid-RayJob-a")) == [key_of(b), key_of(a)]


def test_an_object_made_anew_under_the_same_name_has_the_children_of_the_new_one() -> None:
    objects = Objects(Packed())
    old, new = made(TRAINING_JOBS, "a"), made(TRAINING_JOBS, "a", metadata={"uid": "new"})
    child = made(CONFIG_MAPS, "c", owner=old)
    for item in (old, child, new):
        objects.put(key_of(item), item)
    observation = gather(objects, key_of(new), lambda _: (), None, frozenset())  # type: ignore[arg-type]
    assert observation is not None
    assert observation.objects == {}
    assert objects.lineage(key_of(child)) == [key_of(child)]


def test_readers_get_copies_of_their_own() -> None:
    packed = Packed()
    item = made(CONFIG_MAPS, "a", data={"x": "ü"})
    packed[key_of(item)] = item
    first = packed[key_of(item)]
    first["data"]["x"] = "changed"
    assert packed[key_of(item)] == item
    assert len(packed) == 1
    assert list(packed) == [key_of(item)]


def test_a_thousand_jobs_with_all_their_children_weigh_little() -> None:
    """Under 20 MiB for 9,000 objects of some 2 to 9 KB, each with its place in the indexes."""
    words = [json.dumps({"name": f"field{number}", "value": "x" * 40}) for number in range(60)]
    tracemalloc.start()
    cache = Cache()
    for number in range(1000):
        job = made(TRAINING_JOBS, f"job-{number}", spec={"words": words[:30], "number": number})
        ray_job = made(RAY_JOBS, f"job-{number}-1", owner=job, spec={"words": words, "number": number})
        children = [made(CONFIG_MAPS, f"job-{number}-{name}", owner=job, data={"a": str(words)}) for name in "abc"]
        ray_cluster = made(RAY_CLUSTERS, f"job-{number}-c", owner=ray_job, spec={"words": words, "number": number})
        pods = [made(PODS, f"job-{number}-{name}", owner=ray_cluster, status={"w": words[:20]}) for name in "xyz"]
        for item in (job, ray_job, *children, ray_cluster, *pods):
            cache.put(item)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(cache.objects.items) == 9000
    assert used < 20 * 2**20
