"""The RayJob as it is rendered: what the manifest says is in it, and the same manifest is the same bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.jobs.rayjobs import rayjob
from modelyard_operator.plan.manifests import Refused, job_of
from support.job_worlds import NAMESPACE, evaluation, job
from support.kuberay.validation import rayjob_fault


def rendered(value: dict[str, Any], attempt: int = 1) -> dict[str, Any]:
    uid = "12345678-1234-1234-1234-123456789012"
    parent = {**value, "metadata": {**value["metadata"], "uid": uid, "resourceVersion": "7", "generation": 1}}
    manifest = job_of(parent)
    assert not isinstance(manifest, Refused), manifest
    return rayjob(parent, manifest, attempt, Settings(platform_image="ghcr.io/modelyard/platform:1"))


def pods(value: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod templates of head and workers."""
    cluster = rendered(value)["spec"]["rayClusterSpec"]
    return cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]


def container(template: dict[str, Any]) -> dict[str, Any]:
    (one,) = template["spec"]["containers"]
    return dict(one)


def env(template: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(template)["env"]}


def mounts(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["mountPath"]: mount for mount in container(template)["volumeMounts"]}


def test_names_are_short_enough_for_kuberay_and_say_the_attempt() -> None:
    value = job()
    value["metadata"]["name"] = "a" + "-b" * 31
    name = rendered(value, attempt=9999)["metadata"]["name"]
    assert len(name) <= 47
    assert name.endswith("-12345678-9999")


def test_the_entrypoint_is_the_driver_on_the_snapshot() -> None:
    made = rendered(job())
    words = "modelyard run -f /etc/modelyard/manifest.yaml --status-configmap small-12345678-1-status"
    assert made["spec"]["entrypoint"] == words
    assert (made["spec"]["backoffLimit"], made["spec"]["shutdownAfterJobFinishes"]) == (0, True)
    assert made["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_the_head_holds_the_driver_and_no_work() -> None:
    head, _ = pods(job())
    params = rendered(job())["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]
    assert params["num-cpus"] == "0"
    assert container(head)["workingDir"] == "/mnt/modelyard"
    assert mounts(head)["/etc/modelyard"]["readOnly"] is True
    assert head["spec"]["serviceAccountName"] == "small-12345678"
    assert head["spec"]["automountServiceAccountToken"] is True
    assert env(head)["MODELYARD_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


def test_workers_have_no_token_and_no_manifest() -> None:
    _, worker = pods(job())
    assert worker["spec"]["automountServiceAccountToken"] is False
    assert "/etc/modelyard" not in mounts(worker)


@pytest.mark.parametrize(
    ("count", "per_pod", "replicas"), [(1, 1, 1), (2, 1, 2), (8, 8, 1), (9, 8, 2), (16, 8, 2), (3, 2, 2)]
)
def test_pods_hold_per_pod_workers_each(count: int, per_pod: int, replicas: int) -> None:
    workers = {"count": count, "perPod": per_pod, "resources": {"cpu": "1500m", "memory": "2Gi", "gpu": 1}}
    optimization = {"steps": 100, "globalBatchTokens": 64 * 48}
    group = rendered(job(workers=workers, optimization=optimization))["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (replicas, replicas, replicas)
    wanted = container(group["template"])["resources"]["limits"]
    cpu = "1500m" if per_pod == 1 else f"{1500 * per_pod}m"
    assert wanted == {"cpu": cpu, "memory": f"{2 * per_pod}Gi", "nvidia.com/gpu": str(per_pod)}
    assert group["rayStartParams"]["num-gpus"] == str(per_pod)
    assert container(group["template"])["resources"]["requests"] == wanted


@pytest.mark.parametrize(
    ("amount", "times", "product"),
    [("0.5", 3, "1500m"), ("0.5", 2, "1"), ("1.5Gi", 2, "3221225472"), ("1e3", 2, "2000"), ("250m", 4, "1000m")],
)
def test_quantities_of_any_spelling_are_multiplied(amount: str, times: int, product: str) -> None:
    workers = {"count": times, "perPod": times, "resources": {"cpu": "1", "extended": {"rdma/ib": amount}}}
    assert container(pods(job(workers=workers))[1])["resources"]["limits"]["rdma/ib"] == product


def test_other_gpus_have_other_names() -> None:
    workers = {"count": 1, "resources": {"gpu": 2}}
    value = job(workers=workers, runtime={"gpuResource": "amd.com/gpu"})
    assert container(pods(value)[1])["resources"]["limits"]["amd.com/gpu"] == "2"
    assert env(pods(value)[1])["DS_ACCELERATOR"] == "cuda"
    assert env(pods(job())[1])["DS_ACCELERATOR"] == "cpu"


def test_the_claim_is_mounted_where_paths_begin() -> None:
    for template in pods(job(storage={"claimName": "yard", "subPath": "teams/a/"})):
        assert mounts(template)["/mnt/modelyard"] == {
            "name": "modelyard-storage", "mountPath": "/mnt/modelyard", "subPath": "teams/a",
        }  # fmt: skip
        claims = [v["persistentVolumeClaim"] for v in template["spec"]["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [{"claimName": "yard"}]
    assert "subPath" not in mounts(pods(job())[0])["/mnt/modelyard"]


def test_what_the_runtime_says_is_in_all_pods() -> None:
    runtime = {
        "image": "registry.example/mine:2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "pull"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "envFrom": [{"secretRef": {"name": "all"}, "prefix": "X_"}],
        "volumes": [{"name": "cache", "mountPath": "/cache", "emptyDir": {"sizeLimit": "1Gi"}, "readOnly": True}],
        "sharedMemory": "8Gi",
        "head": {"cpu": "2", "memory": "8Gi"},
        "labels": {"team": "a", "modelyard.dev/name": "forged"},
        "annotations": {"note": "x"},
        "nodeSelector": {"pool": "gpu"},
        "affinity": {"nodeAffinity": {"x": 1}},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    head, worker = pods(job(runtime=runtime))
    for template in (head, worker):
        assert container(template)["image"] == "registry.example/mine:2"
        assert container(template)["imagePullPolicy"] == "Always"
        assert (env(template)["A"], env(template)["B"]["secretKeyRef"]["name"]) == ("1", "s")
        assert container(template)["envFrom"][0]["prefix"] == "X_"
        assert mounts(template)["/cache"] == {"name": "cache", "mountPath": "/cache", "readOnly": True}
        assert {"name": "cache", "emptyDir": {"medium": "", "sizeLimit": "1Gi"}} in template["spec"]["volumes"]
        memory = {"name": "modelyard-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
        assert memory in template["spec"]["volumes"]
        labels = template["metadata"]["labels"]
        assert (labels["team"], labels["modelyard.dev/name"]) == ("a", "small"), "our labels are ours"
        assert template["metadata"]["annotations"] == {"note": "x"}
        spec = template["spec"]
        assert (spec["nodeSelector"], spec["priorityClassName"]) == ({"pool": "gpu"}, "high")
        assert (spec["affinity"], spec["imagePullSecrets"]) == ({"nodeAffinity": {"x": 1}}, [{"name": "pull"}])
        assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert container(head)["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}


def test_scratch_and_shared_memory_of_the_manifest_take_the_place_of_ours() -> None:
    own = [
        {"name": "big", "mountPath": "/tmp", "emptyDir": {}},
        {"name": "shm", "mountPath": "/dev/shm", "emptyDir": {}},
    ]
    head, _ = pods(job(runtime={"volumes": own, "sharedMemory": "1Gi"}))
    assert (mounts(head)["/tmp"]["name"], mounts(head)["/dev/shm"]["name"]) == ("big", "shm")
    places = [mount["mountPath"] for mount in container(head)["volumeMounts"]]
    assert len(places) == len(set(places))


def test_a_variable_of_the_manifest_is_the_manifests_but_the_namespace_is_not() -> None:
    given = [{"name": "HF_HUB_OFFLINE", "value": "0"}, {"name": "MODELYARD_NAMESPACE", "value": "other"}]
    head, _ = pods(job(runtime={"env": given}))
    assert env(head)["HF_HUB_OFFLINE"] == "0"
    assert env(head)["MODELYARD_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    names = [entry["name"] for entry in container(head)["env"]]
    assert len(names) == len(set(names))


def test_an_account_of_the_users_is_used_and_its_token_mounted_everywhere() -> None:
    for template in pods(job(runtime={"serviceAccountName": "robot"})):
        assert template["spec"]["serviceAccountName"] == "robot"
        assert template["spec"]["automountServiceAccountToken"] is True


def test_no_pod_runs_as_root_or_may_become_it() -> None:
    made = rendered(job())
    for template in (*pods(job()), made["spec"]["submitterPodTemplate"]):
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        security = container(template)["securityContext"]
        assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert mounts(template)["/tmp"]["name"] == "modelyard-tmp"


def test_the_same_manifest_is_the_same_bytes() -> None:
    value = job(runtime={"labels": {"b": "1", "a": "2"}, "nodeSelector": {"y": "1", "x": "2"}})
    other = json.loads(json.dumps(value, sort_keys=True))
    other["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    other["status"] = {"phase": "Training"}
    assert json.dumps(rendered(value), sort_keys=True) == json.dumps(rendered(other), sort_keys=True)


@pytest.mark.parametrize("value", [job(), evaluation(), job(runtime={"queue": "gold"})], ids=["job", "ej", "queued"])
def test_kuberay_finds_no_fault_in_it_suspended_or_not(value: dict[str, Any]) -> None:
    made = rendered(value)
    assert rayjob_fault(made) == ""
    assert rayjob_fault({**made, "spec": {**made["spec"], "suspend": True}}) == "", "as a queue sets it"


def test_defaults_that_a_server_fills_in_change_nothing() -> None:
    value = job()
    filled = job(runtime={"startDeadlineSeconds": 3600, "gpuResource": "nvidia.com/gpu"})
    assert rendered(value) == rendered(filled)


def test_an_evaluation_is_rendered_alike() -> None:
    made = rendered(evaluation())
    assert made["metadata"]["namespace"] == NAMESPACE
    assert made["metadata"]["labels"]["modelyard.dev/kind"] == "evaluationjob"
