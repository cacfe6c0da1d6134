"""The RayJob of an attempt: a pure function of parent, manifest and settings, byte-stable.

One head pod (num-cpus 0: Ray places no work there, it holds the driver) and one group of worker pods. KubeRay's facts
behind the choices: `shutdownAfterJobFinishes` or suspension is refused; `preRunningDeadlineSeconds` or a pod that never
starts waits for ever; `backoffLimit` 0 because attempts are ours; `suspend` is left to Kueue.
"""

from __future__ import annotations

from typing import Any

from modelyard.spec import RuntimeSpec
from modelyard_operator.kinds.names import (
    DIGEST_ANNOTATION,
    MANIFEST_FOLDER,
    STORAGE_FOLDER,
    base_name,
    child_name,
    labels_of,
    status_name,
)
from modelyard_operator.kinds.objects import Json, owner_reference
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.manifests import Job, digest_of
from modelyard_operator.plan.templates import (
    QUEUE_LABEL,
    container_security,
    placement,
    plain_list,
    pod_resources,
    pod_security,
    storage_volume,
)

# Quiet, and as a run on one machine sets them: Ray's processes inherit what their pod has.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HOME": "/tmp",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
_DEFAULT_RUNTIME = RuntimeSpec()


def runtime_of(job: Job) -> RuntimeSpec:
    """The runtime wished for, or the default one."""
    return job.spec.runtime or _DEFAULT_RUNTIME


def num_pods(job: Job) -> int:
    """Worker pods: each holds `perPod` workers, the last one maybe fewer."""
    workers = job.spec.workers
    return -(-workers.count // workers.per_pod)


def account_name(parent: Json, job: Job) -> str:
    """The ServiceAccount of the pods: the manifest's, or one of our making."""
    return runtime_of(job).service_account_name or base_name(parent)


def rayjob(parent: Json, job: Job, attempt: int, settings: Settings) -> dict[str, Any]:
    """The RayJob of an attempt."""
    runtime = runtime_of(job)
    child = child_name(parent, attempt)
    labels = labels_of(parent, attempt)
    queue = {QUEUE_LABEL: runtime.queue} if runtime.queue else {}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": child,
            "namespace": parent["metadata"]["namespace"],
            "labels": {**labels, **queue},
            "annotations": {DIGEST_ANNOTATION: digest_of(job)},
            "ownerReferences": [owner_reference(parent)],
        },
        "spec": {
            "submissionMode": "K8sJobMode",
            "entrypoint": f"modelyard run -f {MANIFEST_FOLDER}/manifest.yaml --status-configmap {status_name(child)}",
            "shutdownAfterJobFinishes": True,
            "backoffLimit": 0,
            "preRunningDeadlineSeconds": runtime.start_deadline_seconds,
            "submitterPodTemplate": _submitter(labels, runtime, settings),
            "rayClusterSpec": _cluster(parent, job, labels, settings),
        },
    }


def _cluster(parent: Json, job: Job, labels: dict[str, str], settings: Settings) -> dict[str, Any]:
    count = num_pods(job)
    gpus = job.spec.workers.per_pod * job.spec.workers.resources.gpu
    return {
        "rayVersion": settings.ray_version,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0", "num-gpus": "0"},
            "template": _template(parent, job, labels, settings, head=True),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": count,
                "minReplicas": count,
                "maxReplicas": count,
                # Ray counts GPUs of the names it knows; this way those of any name count.
                "rayStartParams": {"num-gpus": str(gpus)} if gpus else {},
                "template": _template(parent, job, labels, settings, head=False),
            }
        ],
    }


def _template(parent: Json, job: Job, labels: dict[str, str], settings: Settings, *, head: bool) -> dict[str, Any]:
    runtime, workers = runtime_of(job), job.spec.workers
    wanted = (
        {"cpu": runtime.head.cpu, "memory": runtime.head.memory}
        if head
        else pod_resources(workers.resources, workers.per_pod, runtime.gpu_resource)
    )
    container = {
        "name": "ray-head" if head else "ray-worker",
        **_image(runtime, settings),
        "workingDir": STORAGE_FOLDER,
        "env": _env(runtime, "cuda" if workers.resources.gpu else "cpu"),
        **({"envFrom": plain_list(runtime.env_from)} if runtime.env_from else {}),
        "resources": {"limits": wanted, "requests": wanted},
        "securityContext": container_security(),
        "volumeMounts": [mount for mount, _ in _volumes(parent, job, head)],
    }
    spec = {
        **placement(runtime),
        "serviceAccountName": account_name(parent, job),
        # Only the driver speaks with the API server; an account of the user's may be there for a cloud's storage.
        "automountServiceAccountToken": head or runtime.service_account_name is not None,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [volume for _, volume in _volumes(parent, job, head)],
    }
    return {"metadata": _pod_metadata(runtime, labels), "spec": spec}


def _submitter(labels: dict[str, str], runtime: RuntimeSpec, settings: Settings) -> dict[str, Any]:
    """The pod that runs `ray job submit`. Its command is KubeRay's, which asks first: a retry submits nothing twice."""
    container = {
        "name": "ray-job-submitter",
        **_image(runtime, settings),
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": container_security(),
        "volumeMounts": [{"name": "modelyard-tmp", "mountPath": "/tmp"}],
    }
    spec = {
        **placement(runtime),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": "modelyard-tmp", "emptyDir": {}}],
    }
    return {"metadata": _pod_metadata(runtime, labels), "spec": spec}


def _image(runtime: RuntimeSpec, settings: Settings) -> dict[str, Any]:
    policy = {"imagePullPolicy": runtime.image_pull_policy} if runtime.image_pull_policy else {}
    return {"image": runtime.image or settings.platform_image, **policy}


def _env(runtime: RuntimeSpec, accelerator: str) -> list[dict[str, Any]]:
    """Ours first; a variable that the manifest sets is the manifest's."""
    given = [variable.model_dump(mode="json", by_alias=True, exclude_none=True) for variable in runtime.env]
    taken = {variable["name"] for variable in given} | {"MODELYARD_NAMESPACE"}
    ours = {**_ENVIRONMENT, "DS_ACCELERATOR": accelerator}
    namespace = {"name": "MODELYARD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    return [
        namespace,
        *({"name": name, "value": value} for name, value in sorted(ours.items()) if name not in taken),
        *(variable for variable in given if variable["name"] != "MODELYARD_NAMESPACE"),
    ]


def _volumes(parent: Json, job: Job, head: bool) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(mount, volume) pairs: the claim, scratch, shared memory, the snapshot for the driver, the manifest's own."""
    runtime = runtime_of(job)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    if job.spec.storage is not None:
        pairs.append(storage_volume(job.spec.storage))
    mounted = {volume.mount_path.rstrip("/") for volume in runtime.volumes}
    if "/tmp" not in mounted:
        pairs.append(({"name": "modelyard-tmp", "mountPath": "/tmp"}, {"name": "modelyard-tmp", "emptyDir": {}}))
    if runtime.shared_memory is not None and "/dev/shm" not in mounted:
        memory = {"emptyDir": {"medium": "Memory", "sizeLimit": runtime.shared_memory}}
        pairs.append(({"name": "modelyard-shm", "mountPath": "/dev/shm"}, {"name": "modelyard-shm", **memory}))
    if head:
        snapshot = {"name": "modelyard-manifest", "configMap": {"name": base_name(parent)}}
        pairs.append(({"name": "modelyard-manifest", "mountPath": MANIFEST_FOLDER, "readOnly": True}, snapshot))
    for wish in plain_list(runtime.volumes):
        name, path, read_only = wish.pop("name"), wish.pop("mountPath"), wish.pop("readOnly")
        mount = {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
        pairs.append((mount, {"name": name, **wish}))
    return pairs


def _pod_metadata(runtime: RuntimeSpec, labels: dict[str, str]) -> dict[str, Any]:
    annotations = {"annotations": dict(runtime.annotations)} if runtime.annotations else {}
    return {"labels": {**runtime.labels, **labels}, **annotations}
