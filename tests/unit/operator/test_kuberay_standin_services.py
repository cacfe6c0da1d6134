"""The stand-in's RayService controller: blue and green clusters, hashes, conditions, suspension as in KubeRay."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from support.kuberay.rayclusters import cluster_of_service, hash_of
from support.kuberay.rayservices import World, next_state
from support.kuberay.samples import cluster_spec, group, rayservice, serve_config
from support.kuberay.validation import rayservice_fault
from support.kuberay.vocabulary import (
    AddFinalizer,
    Change,
    DropFinalizer,
    Make,
    PutServeConfig,
    Remove,
    ScheduleDeletion,
    Tell,
    Write,
    WriteStatus,
    condition_of,
    text_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RUNNING = {"modelyard": {"status": "RUNNING"}}
DEPLOYING = {"modelyard": {"status": "DEPLOYING"}}
CONFIG = serve_config("tiny@1")


def service(
    status: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    item = rayservice(**spec)
    item["metadata"] |= {"finalizers": ["ray.io/rayservice-finalizer"], "generation": 3, **(metadata or {})}
    return item if status is None else {**item, "status": status}


def cluster(name: str, of: dict[str, Any] | None = None, *, ready: bool = True) -> dict[str, Any]:
    made = cluster_of_service(of or service(), name)
    conditions = [{"type": "HeadPodReady", "status": str(ready)}]
    return {**made, "status": {"state": "ready" if ready else "", "conditions": conditions}}


def pod(owner: str, role: str = "head", serves: str = "true") -> dict[str, Any]:
    labels = {"ray.io/cluster": owner, "ray.io/node-type": role, "ray.io/serve": serves}
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": f"{owner}-{role}", "labels": labels}, "status": ready}


def serve_service(owner: str) -> dict[str, Any]:
    selector = {"ray.io/cluster": owner, "ray.io/serve": "true"}
    metadata = {"name": "tiny-serve-svc", "namespace": "team"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": selector}}


def turn(item: dict[str, Any], world: World, later: float = 0) -> list[Write]:
    numbers = count()
    return next_state(item, world, NOW + timedelta(seconds=later), lambda: f"{next(numbers):05}")


def status_of(writes: list[Write]) -> dict[str, Any]:
    (write,) = [write for write in writes if isinstance(write, WriteStatus)]
    return dict(write.status)


def kinds(writes: list[Write]) -> list[type]:
    return [type(write) for write in writes if not isinstance(write, WriteStatus)]


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]}


def serving(**fields: Any) -> tuple[dict[str, Any], World]:
    """A service whose active cluster `tiny-a` serves, at rest; `fields` change its spec afterwards."""
    world = World(
        clusters={"tiny-a": cluster("tiny-a")},
        pods=[pod("tiny-a"), pod("tiny-a", "worker")],
        services={"tiny-serve-svc": serve_service("tiny-a")},
        applications={"tiny-a": RUNNING},
        healthy=frozenset({"tiny-a"}),
        configs={"tiny-a": CONFIG},
    )
    first = {"activeServiceStatus": {"rayClusterName": "tiny-a"}}
    return {**service(**fields), "status": status_of(turn(service(first), world))}, world


def test_the_finalizer_comes_first_and_alone() -> None:
    item = service()
    item["metadata"].pop("finalizers")
    assert turn(item, World()) == [AddFinalizer("ray.io/rayservice-finalizer")]


def test_a_new_service_names_a_pending_cluster_before_it_is_made() -> None:
    writes = turn(service(), World())
    status = status_of(writes)
    assert kinds(writes) == []
    assert status["pendingServiceStatus"] == {"rayClusterName": "tiny-00000"}
    assert conditions(status) == {
        "Ready": ("False", "Initializing"), "UpgradeInProgress": ("False", "Initializing"),
    }  # fmt: skip
    (made,) = [write for write in turn(service(status), World()) if isinstance(write, Make)]
    assert made.item["metadata"]["name"] == "tiny-00000"


def test_the_pending_cluster_takes_the_traffic_when_its_applications_run() -> None:
    item = service({"pendingServiceStatus": {"rayClusterName": "tiny-a"}})
    world = World(clusters={"tiny-a": cluster("tiny-a", ready=False)}, applications={"tiny-a": {}})
    assert kinds(turn(item, world)) == []  # its head is not ready: no configuration yet
    world = replace(world, clusters={"tiny-a": cluster("tiny-a")})
    assert kinds(turn(item, world)) == [PutServeConfig]
    world = replace(world, applications={"tiny-a": DEPLOYING}, configs={"tiny-a": CONFIG})
    assert kinds(turn(item, world)) == []
    writes = turn(item, replace(world, applications={"tiny-a": RUNNING}))
    status = status_of(writes)
    assert kinds(writes) == [Make, Make]
    assert status["activeServiceStatus"]["rayClusterName"] == "tiny-a"
    assert "pendingServiceStatus" not in status
    assert conditions(status)["Ready"] == ("False", "Initializing")  # endpoints are counted in the next turn


def test_ready_is_the_number_of_endpoints_and_nothing_else() -> None:
    item, world = serving()
    assert item["status"]["numServeEndpoints"] == 2
    assert conditions(item["status"]) == {
        "Ready": ("True", "NonZeroServeEndpoints"), "UpgradeInProgress": ("False", "NoPendingCluster"),
    }  # fmt: skip
    sick = status_of(turn(item, replace(world, applications={"tiny-a": {"modelyard": {"status": "UNHEALTHY"}}})))
    assert conditions(sick)["Ready"][0] == "True"
    none = status_of(turn(item, replace(world, pods=[])))
    assert conditions(none)["Ready"] == ("False", "ZeroServeEndpoints")
    assert "serviceStatus" not in none


def test_at_rest_nothing_is_written() -> None:
    item, world = serving()
    item = {**item, "status": {**item["status"], "observedGeneration": 1}}
    services = {
        **world.services,
        "tiny-head-svc": {"spec": {"selector": {"ray.io/cluster": "tiny-a", "ray.io/node-type": "head"}}},
    }
    assert turn(item, replace(world, services=services)) == []


def test_a_changed_configuration_goes_to_the_same_cluster() -> None:
    item, world = serving(version="tiny@2")
    put = [write for write in turn(item, world) if isinstance(write, PutServeConfig)]
    assert put == [PutServeConfig("tiny-a", serve_config("tiny@2"))]


def test_a_controller_that_starts_anew_sends_the_configuration_again() -> None:
    item, world = serving()
    assert PutServeConfig in kinds(turn(item, replace(world, configs={})))


def changed(**fields: Any) -> dict[str, Any]:
    return {"rayClusterConfig": cluster_spec(**fields)}


def resized(**fields: Any) -> dict[str, Any]:
    return changed(workerGroupSpecs=[{**group("workers"), **fields}])


@pytest.mark.parametrize("spec", [
    resized(replicas=4, minReplicas=0, maxReplicas=9), resized(scaleStrategy={"workersToDelete": ["a"]}),
    changed(suspend=True),
], ids=["sizes", "workers to delete", "suspension"])  # fmt: skip
def test_scaling_is_no_upgrade_and_does_not_reach_the_cluster(spec: dict[str, Any]) -> None:
    item, world = serving(**spec)
    assert not [write for write in turn(item, world) if isinstance(write, Change) and "spec" in write.body]
    assert "pendingServiceStatus" not in item["status"]


def test_a_group_at_the_end_changes_the_cluster_in_place() -> None:
    item, world = serving(**changed(workerGroupSpecs=[group("workers"), group("more")]))
    (change,) = [
        write
        for write in turn(item, world)
        if isinstance(write, Change) and "workerGroupSpecs" in write.body.get("spec", {})
    ]
    assert len(change.body["spec"]["workerGroupSpecs"]) == 2


@pytest.mark.parametrize("spec", [
    changed(headGroupSpec=group(image="ray:2")), changed(workerGroupSpecs=[]), changed(rayVersion="2.61.0"),
    changed(workerGroupSpecs=[group("more"), group("workers")]),
], ids=["image", "a group less", "Ray", "order"])  # fmt: skip
def test_any_other_change_is_a_new_cluster(spec: dict[str, Any]) -> None:
    item, world = serving(**spec)
    status = status_of(turn(item, world))
    assert status["pendingServiceStatus"] == {"rayClusterName": "tiny-00000"}
    assert conditions(status)["UpgradeInProgress"] == ("True", "BothActivePendingClustersExist")
    assert conditions(status)["Ready"][0] == "True"
    assert "applicationStatuses" not in status["activeServiceStatus"]  # nobody looks after the active one now
    item, world = serving(**spec, upgradeStrategy={"type": "None"})
    assert not [write for write in turn(item, world) if isinstance(write, WriteStatus)]


def test_a_further_change_replaces_the_pending_cluster() -> None:
    item, world = serving(**changed(headGroupSpec=group(image="ray:3")))
    second = service(**changed(headGroupSpec=group(image="ray:2")))
    item["status"]["pendingServiceStatus"] = {"rayClusterName": "tiny-b"}
    world = replace(world, clusters={**world.clusters, "tiny-b": cluster("tiny-b", second)})
    assert status_of(turn(item, world))["pendingServiceStatus"]["rayClusterName"] == "tiny-00000"


def test_a_pending_cluster_that_never_comes_up_stays() -> None:
    item, world = serving(**changed(headGroupSpec=group(image="ray:2")))
    item["status"]["pendingServiceStatus"] = {"rayClusterName": "tiny-b"}
    world = replace(world, clusters={**world.clusters, "tiny-b": cluster("tiny-b", item, ready=False)})
    status = status_of(turn(item, world, later=1e6))
    assert conditions(status)["UpgradeInProgress"][0] == "True"
    assert status["pendingServiceStatus"]["rayClusterName"] == "tiny-b"


def test_the_old_cluster_goes_after_the_delay() -> None:
    item, world = serving()
    world = replace(world, clusters={**world.clusters, "tiny-old": cluster("tiny-old")})
    due = NOW + timedelta(seconds=60)
    assert ScheduleDeletion("tiny-old", due) in turn(item, world)
    world = replace(world, deletions={"tiny-old": due})
    assert Remove not in kinds(turn(item, world, later=60))
    removed = [write.key.name for write in turn(item, world, later=61) if isinstance(write, Remove)]
    assert removed == ["tiny-old"]


def test_deleting_waits_until_its_clusters_have_gone() -> None:
    item, world = serving()
    item["metadata"] |= {"deletionTimestamp": text_of(NOW)}
    assert kinds(turn(item, world)) == [Remove]
    leaving = copy.deepcopy(world.clusters["tiny-a"])
    leaving["metadata"]["deletionTimestamp"] = text_of(NOW)
    assert turn(item, replace(world, clusters={"tiny-a": leaving})) == []
    assert turn(item, World()) == [DropFinalizer("ray.io/rayservice-finalizer")]


def test_suspension_is_stored_before_anything_goes_and_then_goes_on() -> None:
    item, world = serving(suspend=True)
    writes = turn(item, world)
    status = status_of(writes)
    assert kinds(writes) == []
    assert conditions(status)["Suspending"] == ("True", "SuspendRequested")
    item = {**service(), "status": status}  # taken back: it goes on all the same
    assert [write.key.name for write in turn(item, world) if isinstance(write, Remove)] == ["tiny-a", "tiny-serve-svc"]
    ended = status_of([write for write in turn(item, World()) if isinstance(write, WriteStatus)])
    assert conditions(ended)["Suspended"] == ("True", "SuspendComplete")
    resumed = status_of(turn({**service(), "status": ended}, World()))
    assert conditions(resumed)["Ready"] == ("False", "Initializing")


def test_the_initializing_timeout_is_final() -> None:
    limit = {"annotations": {"ray.io/initializing-timeout": "1m30s"}}
    first = status_of(turn(service(None, limit), World()))
    item = service(first, limit)
    world = World(clusters={"tiny-00000": cluster("tiny-00000", item, ready=False)})
    assert conditions(status_of(turn(item, world, later=89)))["Ready"] == ("False", "Initializing")
    late = status_of(turn(item, world, later=90))
    assert conditions(late)["Ready"] == ("False", "InitializingTimeout")
    assert kinds(turn(service(late, limit), world, later=99)) == [ScheduleDeletion]
    assert condition_of(late, "UpgradeInProgress")["reason"] == "Initializing"


@pytest.mark.parametrize(("words", "spec"), [
    ("no more than 47", {"name": "a" * 48}),
    ("headService", changed(headGroupSpec={**group(), "headService": {"metadata": {"name": "x"}}})),
    ("upgradeStrategy.type", {"upgradeStrategy": {"type": "Sometimes"}}),
    ("negative", {"rayClusterDeletionDelaySeconds": -1}),
    ("must set both", resized(maxReplicas=None)),
])  # fmt: skip
def test_what_is_refused_is_told_in_ready(words: str, spec: dict[str, Any]) -> None:
    item = service(**spec)
    assert words in rayservice_fault(item)
    writes = turn(item, World())
    assert kinds(writes) == [Tell]
    assert conditions(status_of(writes))["Ready"] == ("False", "ValidationFailed")


def test_the_hash_knows_no_order_of_keys() -> None:
    spec = cluster_spec()
    assert hash_of(dict(reversed(spec.items()))) == hash_of(spec)


def on_port(name: str) -> dict[str, Any]:
    head = group()
    head["template"]["spec"]["containers"][0]["ports"] = [{"name": name, "containerPort": 9000}]
    return changed(headGroupSpec=head)


def test_a_head_whose_ports_name_no_serve_never_becomes_ready() -> None:
    for name, made in (("serve", True), ("http", False)):
        item = service({"pendingServiceStatus": {"rayClusterName": "tiny-a"}}, **on_port(name))
        clusters = {"tiny-a": cluster("tiny-a", item)}
        world = World(clusters=clusters, applications={"tiny-a": RUNNING}, configs={"tiny-a": CONFIG})
        services = [write.item for write in turn(item, world) if isinstance(write, Make)]
        assert bool(services) == made
        assert all({"serve": 9000}.items() <= ports(entry).items() for entry in services)


def ports(entry: Any) -> dict[str, int]:
    return {port["name"]: port["port"] for port in entry["spec"]["ports"]}


def test_the_serve_service_may_have_another_name() -> None:
    item, world = serving(serveService={"metadata": {"name": "mine", "labels": {"a": "b"}}})
    (made,) = [write.item for write in turn(item, world) if isinstance(write, Make) and "serve" in ports(write.item)][
        1:
    ]
    assert (made["metadata"]["name"], made["metadata"]["labels"]["a"]) == ("mine", "b")
    assert status_of(turn(item, world))["numServeEndpoints"] == 0  # nothing stands under that name yet
