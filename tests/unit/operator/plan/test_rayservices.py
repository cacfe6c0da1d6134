"""The RayService of a deployment: byte-stable, what starts a rollout and what does not, scale laid over what stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.spec import ModelDeployment, from_dict
from modelyard_operator.kinds.names import STORAGE_FOLDER
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.deployments.rayservices import labels, render, scaled, wish_digest, with_room
from modelyard_operator.plan.registry_index import ModelVersion
from support.deployment_worlds import deployment, digest
from support.kuberay.validation import rayservice_fault

VERSION = ModelVersion("small", 3, digest(3))
SETTINGS = Settings()
FULL = {
    "engine": {"precision": "bf16", "maxSequences": 32, "maxSequenceLength": 1024},
    "replicas": 2,
    "resources": {"cpu": "500m", "memory": "8Gi", "gpu": 1, "extended": {"rdma/ib": "1"}},
    "storage": {"claimName": "yard", "subPath": "a"},
    "runtime": {
        "image": "mine:1",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "pull"}],
        "env": [
            {"name": "HF_HUB_OFFLINE", "value": "0"},
            {"name": "MODELYARD_SERVES", "value": "other@1"},
            {"name": "AN_AUTHORITY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "more"}}],
        "volumes": [{"name": "certs", "mountPath": "/certs", "readOnly": True, "secret": {"secretName": "certs"}}],
        "sharedMemory": "1Gi",
        "head": {"cpu": "2", "memory": "6Gi"},
        "queue": "gpus",
        "gpuResource": "amd.com/gpu",
        "labels": {"team": "a", "modelyard.dev/name": "stolen"},
        "annotations": {"note": "b"},
        "nodeSelector": {"pool": "gpu"},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "serviceAccountName": "server",
        "priorityClassName": "high",
    },
}


def manifest(**spec: Any) -> ModelDeployment:
    made = from_dict(deployment(**spec))
    assert isinstance(made, ModelDeployment)
    return made


def parent() -> dict[str, Any]:
    item = deployment()
    item["metadata"]["uid"] = "11111111-2222-3333-4444-555555555555"
    return item


def rendered(**spec: Any) -> dict[str, Any]:
    wished = manifest(**spec)
    return render(parent(), wished, VERSION, wish_digest(wished, VERSION), SETTINGS)


def pod(spec: dict[str, Any], *, head: bool = False) -> dict[str, Any]:
    cluster = spec["rayClusterConfig"]
    group = cluster["headGroupSpec"] if head else cluster["workerGroupSpecs"][0]
    template: dict[str, Any] = group["template"]
    return template


def container(spec: dict[str, Any], *, head: bool = False) -> dict[str, Any]:
    (only,) = pod(spec, head=head)["spec"]["containers"]
    return dict(only)


def config(spec: dict[str, Any]) -> dict[str, Any]:
    (application,) = json.loads(spec["serveConfigV2"])["applications"]
    return dict(application)


@pytest.mark.parametrize("spec", [{}, FULL, {"replicas": None, "autoscaling": {"minReplicas": 0, "maxReplicas": 4}}])
def test_kuberay_takes_it_and_the_same_wish_is_the_same_bytes(spec: dict[str, Any]) -> None:
    first, again = rendered(**spec), rendered(**dict(reversed(list(spec.items()))))
    assert json.dumps(first) == json.dumps(again)
    assert "null" not in json.dumps(first)
    metadata = {"name": "small-11111111", "namespace": "team"}
    assert rayservice_fault({"metadata": metadata, "spec": first}) == ""


def test_the_version_is_pinned_with_its_digest_in_config_and_pods() -> None:
    spec = rendered()
    assert config(spec)["args"]["model"] == "registry://small@3"
    assert config(spec)["args"]["digest"] == digest(3)
    for head in (True, False):
        variables = {entry["name"]: entry["value"] for entry in container(spec, head=head)["env"]}
        assert variables["MODELYARD_SERVES"] == "small@3"
        assert variables["MODELYARD_YARD"] == f"{STORAGE_FOLDER}/yard"
        assert pod(spec, head=head)["metadata"]["annotations"]["modelyard.dev/spec-digest"].startswith("sha256:")


def test_a_full_runtime_reaches_the_pods_in_kubernetes_words() -> None:
    spec = rendered(**FULL)
    worker, body = container(spec), pod(spec)["spec"]
    amounts = {"cpu": "500m", "memory": "8Gi", "amd.com/gpu": "1", "rdma/ib": "1"}
    assert worker["resources"] == {"limits": amounts, "requests": amounts}
    assert container(spec, head=True)["resources"]["limits"] == {"cpu": "2", "memory": "6Gi"}
    assert (worker["image"], worker["imagePullPolicy"]) == ("mine:1", "Always")
    env = {entry["name"]: entry for entry in worker["env"]}
    assert (env["HF_HUB_OFFLINE"]["value"], env["MODELYARD_SERVES"]["value"]) == ("0", "small@3")
    assert env["AN_AUTHORITY"]["valueFrom"] == {"secretKeyRef": {"name": "keys", "key": "a"}}
    assert len(env) == len(worker["env"]), "no variable twice"
    assert worker["envFrom"] == [{"configMapRef": {"name": "more"}}]
    mounts = {mount["name"]: mount for mount in worker["volumeMounts"]}
    assert mounts["certs"] == {"name": "certs", "mountPath": "/certs", "readOnly": True}
    storage = {"name": "modelyard-storage", "mountPath": STORAGE_FOLDER, "readOnly": True, "subPath": "a"}
    assert mounts["modelyard-storage"] == storage
    volumes = {volume["name"]: volume for volume in body["volumes"]}
    assert volumes["certs"] == {"name": "certs", "secret": {"secretName": "certs"}}
    assert volumes.keys() == mounts.keys()
    assert body["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert body["nodeSelector"] == {"pool": "gpu"}
    assert body["affinity"] == {"nodeAffinity": {}}
    assert (body["serviceAccountName"], body["priorityClassName"]) == ("server", "high")
    assert body["imagePullSecrets"] == [{"name": "pull"}]
    assert (
        pod(spec)["metadata"]["labels"] | {"team": "a", "modelyard.dev/name": "small"}
        == pod(spec)["metadata"]["labels"]
    )
    assert labels(parent(), manifest(**FULL))["kueue.x-k8s.io/queue-name"] == "gpus"
    assert "suspend" not in spec, "Kueue's alone"


def test_pods_are_closed_up() -> None:
    spec = rendered()
    assert spec["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    for head in (True, False):
        assert pod(spec, head=head)["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container(spec, head=head)["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod(spec)["spec"]["automountServiceAccountToken"] is False


def test_what_kuberay_adds_to_the_head_is_closed_up_too() -> None:
    """Else a namespace of the restricted Pod Security Standard refuses the pod."""
    added = rendered()["rayClusterConfig"]["autoscalerOptions"]["securityContext"]
    assert added == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_no_two_volumes_are_mounted_in_one_place() -> None:
    wishes = [{"name": name, "mountPath": path, "emptyDir": {}} for name, path in (("a", "/tmp/"), ("b", "/dev/shm"))]
    spec = rendered(runtime={"volumes": wishes})
    group = spec["rayClusterConfig"]["workerGroupSpecs"][0]
    assert [mount["name"] for mount in container(spec)["volumeMounts"]] == ["modelyard-storage", "a", "b"]
    assert [one["name"] for one in group["template"]["spec"]["volumes"]] == ["modelyard-storage", "a", "b"]


def test_gpus_of_any_name_are_counted() -> None:
    spec = rendered(resources={"gpu": 2}, runtime={"gpuResource": "nvidia.com/gpu.shared"})
    group = spec["rayClusterConfig"]["workerGroupSpecs"][0]
    assert container(spec)["resources"]["limits"]["nvidia.com/gpu.shared"] == "2"
    assert group["resources"] == {"modelyard_replica": "1", "GPU": "2"}


def test_two_small_replicas_never_share_a_pod() -> None:
    spec = rendered(resources={"cpu": "100m"})
    (deployed,) = config(spec)["deployments"]
    assert deployed["ray_actor_options"]["resources"] == {"modelyard_replica": 1}
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert group["resources"] == {"modelyard_replica": "1"}


# What a change does: starts a rollout, or only scales, or nothing at all.
ROLLS = {
    "another engine": {"engine": {"maxSequences": 4}},
    "other resources": {"resources": {"cpu": "2"}},
    "another claim": {"storage": {"claimName": "other"}},
    "another image": {"runtime": {"image": "mine:2"}},
    "another variable": {"runtime": {"env": [{"name": "A", "value": "b"}]}},
}
STAYS = {
    "replicas": {"replicas": 7},
    "autoscaling": {"autoscaling": {"maxReplicas": 9}, "replicas": None},
    "deadline": {"rollout": {"deadlineSeconds": 5}},
    "an alias of the same version": {"model": "registry://small@other"},
    "a default spelled out": {
        "engine": {"name": "transformers", "maxSequences": 16},
        "runtime": {"head": {"cpu": "1"}},
    },
    "deadlines of jobs": {"runtime": {"startDeadlineSeconds": 5, "ttlSecondsAfterFinished": 5, "queue": "a"}},
    "local address": {"api": {"port": 9}},
}


@pytest.mark.parametrize("name", ROLLS)
def test_what_starts_a_rollout(name: str) -> None:
    assert wish_digest(manifest(**ROLLS[name]), VERSION) != wish_digest(manifest(), VERSION)


@pytest.mark.parametrize("name", STAYS)
def test_what_starts_none(name: str) -> None:
    assert wish_digest(manifest(**STAYS[name]), VERSION) == wish_digest(manifest(), VERSION)


def test_another_version_or_other_bytes_or_a_restart_start_one() -> None:
    others = [
        wish_digest(manifest(), ModelVersion("small", 4, digest(3))),
        wish_digest(manifest(), ModelVersion("small", 3, digest(4))),
        wish_digest(manifest(), VERSION, "2026-11-22"),
    ]
    assert len({*others, wish_digest(manifest(), VERSION)}) == 4


def test_autoscaling_is_serves_and_rays() -> None:
    spec = rendered(replicas=None, autoscaling={"minReplicas": 0, "maxReplicas": 4, "scaleDownDelaySeconds": 60})
    (deployed,) = config(spec)["deployments"]
    assert deployed["autoscaling_config"] == {
        "min_replicas": 0, "initial_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 8.0,
        "downscale_delay_s": 60,
    }  # fmt: skip
    assert "num_replicas" not in deployed
    assert spec["rayClusterConfig"]["enableInTreeAutoscaling"] is True
    assert spec["excludeHeadPodFromServeSvc"] is False, "the head takes the request that wakes a replica"


scales = st.one_of(
    st.integers(0, 50).map(lambda number: {"replicas": number}),
    st.tuples(st.integers(0, 20), st.integers(1, 20)).map(
        lambda pair: {"replicas": None, "autoscaling": {"minReplicas": min(pair), "maxReplicas": max(pair)}}
    ),
)


@given(st.lists(scales, min_size=1, max_size=4))
def test_scale_after_scale_is_the_last_one_and_starts_no_rollout(wishes: list[dict[str, Any]]) -> None:
    first = spec = rendered()
    for wish in wishes:
        spec = scaled(spec, manifest(**wish).spec)
    assert scaled(spec, manifest(**wishes[-1]).spec) == spec
    assert without_scale(spec) == without_scale(first)
    assert spec["serveConfigV2"] == rendered(**wishes[-1])["serveConfigV2"]
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert group["maxReplicas"] >= wishes[-1].get("autoscaling", {}).get("maxReplicas", wishes[-1]["replicas"] or 0)


def without_scale(spec: dict[str, Any]) -> Any:
    """What KubeRay's hash and Serve's code version see."""
    copy = json.loads(json.dumps({**spec, "serveConfigV2": json.loads(spec["serveConfigV2"])}))
    for name in ("suspend", "excludeHeadPodFromServeSvc"):
        copy.pop(name, None)
    for name in ("replicas", "minReplicas", "maxReplicas"):
        copy["rayClusterConfig"]["workerGroupSpecs"][0].pop(name, None)
    for name in ("num_replicas", "autoscaling_config"):
        copy["serveConfigV2"]["applications"][0]["deployments"][0].pop(name, None)
    return copy


@pytest.mark.parametrize(
    "standing", ["", "a: [", "[]", "null", '{"applications": 3}', '{"applications": [{"name": "x"}]}']
)
def test_a_config_that_is_not_ours_is_left_as_it_is(standing: str) -> None:
    assert scaled({"serveConfigV2": standing}, manifest(replicas=5).spec)["serveConfigV2"] == standing


def test_room_is_made_in_our_group_alone_and_never_taken_back() -> None:
    theirs = {"groupName": "theirs", "maxReplicas": 1}
    ours = {"groupName": "replicas", "maxReplicas": 9, "replicas": 5, "scaleStrategy": {"workersToDelete": ["a"]}}
    assert with_room({"workerGroupSpecs": [theirs, ours]}, 9) == [theirs, ours]
    assert with_room({"workerGroupSpecs": [theirs, ours]}, 10) == [theirs, {**ours, "maxReplicas": 18}]
    assert with_room({"workerGroupSpecs": "torn"}, 10) == []
