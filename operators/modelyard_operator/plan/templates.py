"""What the pods of jobs and of deployments have in common: resources, places, volumes, security, who may ask them."""

from __future__ import annotations

from typing import Any

from modelyard.spec import ResourcesSpec, RuntimeSpec, StorageSpec, quantity
from modelyard_operator.kinds.names import STORAGE_FOLDER

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
OWN_VOLUMES = "modelyard-"  # what names of our volumes begin with
USER_ID = 1000  # of the platform image's user; the claim's files belong to this group


def pod_resources(resources: ResourcesSpec, per_pod: int, gpu_resource: str) -> dict[str, str]:
    """What a pod of so many workers needs, as Kubernetes quantities."""
    wanted = {"cpu": _times(resources.cpu, per_pod), "memory": _times(resources.memory, per_pod)}
    if resources.gpu:
        wanted[gpu_resource] = str(resources.gpu * per_pod)
    return {**wanted, **{name: _times(amount, per_pod) for name, amount in sorted(resources.extended.items())}}


def _times(amount: str, count: int) -> str:
    """`count` times a quantity; one time is that quantity, in its own spelling."""
    if count == 1:
        return amount
    digits = amount.rstrip("EPTGMKikm")
    suffix = amount[len(digits) :]
    if digits.isdigit():
        return f"{int(digits) * count}{suffix}"
    total = quantity(amount) * count
    if total == total.to_integral_value():
        return str(int(total))
    return f"{(total * 1000).to_integral_value(rounding='ROUND_CEILING'):f}m"


def storage_volume(storage: StorageSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """The claim's (mount, volume)."""
    sub_path = {"subPath": storage.sub_path.strip("/")} if storage.sub_path and storage.sub_path.strip("./") else {}
    mount = {"name": "modelyard-storage", "mountPath": STORAGE_FOLDER, **sub_path}
    return mount, {"name": "modelyard-storage", "persistentVolumeClaim": {"claimName": storage.claim_name}}


def placement(runtime: RuntimeSpec) -> dict[str, Any]:
    """Where pods may run and what they may pull, in the pod spec's own words; what is not wished is left out."""
    wished = {
        "imagePullSecrets": plain_list(runtime.image_pull_secrets),
        "nodeSelector": dict(runtime.node_selector),
        "affinity": dict(runtime.affinity),
        "tolerations": plain_list(runtime.tolerations),
        "priorityClassName": runtime.priority_class_name,
    }
    return {name: value for name, value in wished.items() if value}


def plain_list(parts: Any) -> list[dict[str, Any]]:
    """Parts of a manifest in the words in which it was written."""
    return [part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in parts]


def pod_security() -> dict[str, Any]:
    """Whom the processes of a pod run as."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",  # a claim of many files is not walked at every start
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """What a container may do: nothing beyond its own files."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def kuberay_peers() -> list[dict[str, Any]]:
    """KubeRay's operator, wherever it runs: its chart (under any name) and its kustomization agree on no one label."""
    labels = {"app.kubernetes.io/name": "kuberay-operator"}, {"app.kubernetes.io/component": "kuberay-operator"}
    return [{"namespaceSelector": {}, "podSelector": {"matchLabels": one}} for one in labels]
