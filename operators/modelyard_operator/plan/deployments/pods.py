"""The pods under a deployment: head and replicas, as pod templates. The same wish renders the same bytes."""

from __future__ import annotations

from typing import Any

from modelyard.spec import ModelDeployment, ResourcesSpec, RuntimeSpec
from modelyard.spec.digests import canonical
from modelyard_operator.kinds.names import DIGEST_ANNOTATION, STORAGE_FOLDER
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.registry_index import ModelVersion
from modelyard_operator.plan.templates import container_security, placement, pod_resources, pod_security, storage_volume

SERVE_PORT = 8000
YARD = f"{STORAGE_FOLDER}/yard"
SERVES_VARIABLE = "MODELYARD_SERVES"  # the version that a pod was made for: another one's config is refused in it
# Serve moves requests, not tensors, through Ray's store: the least that Ray takes, with room (it refuses below 75 MB).
OBJECT_STORE_BYTES = 100_000_000
SHARED_MEMORY = "256Mi"  # holds that store, which lies in /dev/shm
_PORTS = (("gcs", 6379), ("dashboard", 8265), ("client", 10001), ("metrics", 8080), ("serve", SERVE_PORT))
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HOME": "/tmp",  # the root file system is read-only; Ray wants a home to write to
}


def head_template(
    manifest: ModelDeployment, model: ModelVersion, labels: dict[str, str], digest: str, settings: Settings
) -> dict[str, Any]:
    """Ray's head, Serve's controller and a proxy: no replica."""
    runtime = _runtime(manifest)
    resources = ResourcesSpec(cpu=runtime.head.cpu, memory=runtime.head.memory)
    container = _container("ray-head", manifest, model, resources, settings)
    return _template(manifest, container, labels, digest, is_head=True)


def replica_template(
    manifest: ModelDeployment, model: ModelVersion, labels: dict[str, str], digest: str, settings: Settings
) -> dict[str, Any]:
    """A pod for one replica, with the replica's resources."""
    container = _container("ray-worker", manifest, model, manifest.spec.resources, settings)
    return _template(manifest, container, labels, digest, is_head=False)


def _runtime(manifest: ModelDeployment) -> RuntimeSpec:
    return manifest.spec.runtime or RuntimeSpec()


def _container(
    name: str, manifest: ModelDeployment, model: ModelVersion, resources: ResourcesSpec, settings: Settings
) -> dict[str, Any]:
    runtime = _runtime(manifest)
    amounts = pod_resources(resources, 1, runtime.gpu_resource)
    container: dict[str, Any] = {
        "name": name,
        "image": runtime.image or settings.platform_image,
        "workingDir": STORAGE_FOLDER,
        "env": _environment(manifest, model),
        "ports": [{"name": port, "containerPort": number, "protocol": "TCP"} for port, number in _PORTS],
        "resources": {"limits": amounts, "requests": amounts},
        "securityContext": container_security(),
        "volumeMounts": [mount for _, mount in _volumes(manifest)],
    }
    if runtime.env_from:
        container["envFrom"] = canonical(runtime.env_from)
    if runtime.image_pull_policy:
        container["imagePullPolicy"] = runtime.image_pull_policy
    return container


def _environment(manifest: ModelDeployment, model: ModelVersion) -> list[dict[str, Any]]:
    """Ours, then the manifest's in its order; a name that both have is the manifest's, but for what names the model."""
    fixed = {SERVES_VARIABLE: model.label, "MODELYARD_YARD": YARD}
    theirs = [entry for entry in canonical(_runtime(manifest).env) if entry["name"] not in fixed]
    named = {entry["name"] for entry in theirs}
    accelerator = {"DS_ACCELERATOR": "cuda" if manifest.spec.resources.gpu else "cpu"}
    ours = {**_ENVIRONMENT, **accelerator, **fixed}
    return [{"name": name, "value": ours[name]} for name in sorted(ours) if name not in named] + theirs


def _volumes(manifest: ModelDeployment) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Volumes with their mounts. The yard is read, never written; the manifest's own go before ours of that place."""
    storage, runtime = manifest.spec.storage, _runtime(manifest)
    shared = {"medium": "Memory", "sizeLimit": runtime.shared_memory or SHARED_MEMORY}
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"name": "modelyard-shared-memory", "emptyDir": shared}, {"mountPath": "/dev/shm"}),
        ({"name": "modelyard-scratch", "emptyDir": {}}, {"mountPath": "/tmp"}),
    ]
    if storage is not None:
        mount, volume = storage_volume(storage)
        found.append((volume, {**mount, "readOnly": True}))
    for wish in runtime.volumes:
        entry = canonical(wish)
        mount = {key: entry.pop(key) for key in ("mountPath", "readOnly") if key in entry}
        found.append((entry, mount))
    taken = {wish.mount_path.rstrip("/") for wish in runtime.volumes}
    theirs = len(found) - len(runtime.volumes)
    kept = [pair for pair in found[:theirs] if pair[1]["mountPath"] not in taken] + found[theirs:]
    return [(volume, {"name": volume["name"], **mount}) for volume, mount in kept]


def _template(
    manifest: ModelDeployment, container: dict[str, Any], labels: dict[str, str], digest: str, *, is_head: bool
) -> dict[str, Any]:
    runtime = _runtime(manifest)
    spec: dict[str, Any] = {
        **placement(runtime),
        "containers": [container],
        "volumes": [volume for volume, _ in _volumes(manifest)],
        "securityContext": pod_security(),
    }
    if not is_head:  # the head's autoscaler asks the API server, with an account that KubeRay makes
        spec["automountServiceAccountToken"] = False
    if runtime.service_account_name:
        spec["serviceAccountName"] = runtime.service_account_name
    return {
        "metadata": {
            "labels": {**runtime.labels, **labels},
            "annotations": {**runtime.annotations, DIGEST_ANNOTATION: digest},
        },
        "spec": spec,
    }
