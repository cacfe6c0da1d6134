"""Pods as KubeRay makes them of a group, and their statuses as a kubelet and a scheduler write them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelyard_operator.kinds.objects import Json
from support.kuberay.vocabulary import CLUSTER_LABEL, GROUP_LABEL, NODE_LABEL, SERVE_LABEL, owned_by, text_of

NODE = "node-1"


def pod_of(cluster: Json, group: Json, name: str, suffix: str) -> dict[str, Any]:
    """A Pod of a cluster's group; a worker first waits for the head in an init container of the same image."""
    metadata, template = cluster["metadata"], copy.deepcopy(dict(group["template"]))
    is_head = name == "headgroup"
    prefix = f"{metadata['name']}-head" if is_head else f"{metadata['name']}-{name}-worker"
    labels = {
        **template.get("metadata", {}).get("labels", {}),
        **_labels(cluster, name),
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
    }
    spec = template["spec"]
    container = spec["containers"][0]
    address = "127.0.0.1:6379" if is_head else f"{metadata['name']}-head-svc.{metadata['namespace']}.svc:6379"
    container["env"] = [*container.get("env", ()), *_env(metadata["name"], address)]
    if not is_head:
        waits = {"name": "wait-gcs-ready", "image": container["image"], "command": ["/bin/bash", "-c", "--"]}
        spec["initContainers"] = [*spec.get("initContainers", ()), waits]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{prefix[:50]}-{suffix}".lower(),
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": dict(template.get("metadata", {}).get("annotations", {})),
            "ownerReferences": owned_by(cluster),
        },
        "spec": spec,
    }


def _labels(cluster: Json, group: str) -> dict[str, str]:
    name, is_head = cluster["metadata"]["name"], group == "headgroup"
    serves = cluster["metadata"].get("labels", {}).get("ray.io/originated-from-crd") == "RayService"
    kind = "head" if is_head else "worker"
    labels = {CLUSTER_LABEL: name, NODE_LABEL: kind, GROUP_LABEL: group, "ray.io/is-ray-node": "yes"}
    return {**labels, SERVE_LABEL: "false" if is_head else "true"} if serves else labels


def _env(cluster: str, address: str) -> list[dict[str, str]]:
    return [
        {"name": "RAY_CLUSTER_NAME", "value": cluster},
        {"name": "RAY_ADDRESS", "value": address},
        {"name": "RAY_PORT", "value": "6379"},
        {"name": "RAY_USAGE_STATS_KUBERAY_IN_USE", "value": "1"},
    ]


def is_head(pod: Json) -> bool:
    """Whether a Pod is a cluster's head."""
    return bool(pod["metadata"]["labels"][NODE_LABEL] == "head")


def is_ready(pod: Json) -> bool:
    """Running, with its Ready condition True."""
    status = pod.get("status", {})
    conditions = status.get("conditions", ())
    return (
        status.get("phase") == "Running"
        and {"type": "Ready", "status": "True"}.items()
        <= next((entry for entry in conditions if entry["type"] == "Ready"), {}).items()
    )


def container_of(pod: Json) -> Json:
    """The status of the Ray container; empty while there is none."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    first = pod["spec"]["containers"][0]["name"]
    return next((entry for entry in statuses if entry["name"] == first), {})


def starting(pod: Json, now: datetime) -> dict[str, Any]:
    """Scheduled, its containers being created."""
    return _status(pod, "Pending", now, {"waiting": {"reason": "ContainerCreating"}}, ready=False)


def running(pod: Json, now: datetime, *, ready: bool = True) -> dict[str, Any]:
    """Running; `ready` is what its readiness probe says."""
    return _status(pod, "Running", now, {"running": {"startedAt": text_of(now)}}, ready=ready)


def unschedulable(
    pod: Json, now: datetime, message: str = "0/8 nodes are available: 8 Insufficient nvidia.com/gpu."
) -> dict[str, Any]:
    """No node takes it."""
    return {"phase": "Pending", "conditions": [_condition("PodScheduled", False, now, "Unschedulable", message)]}


def waiting(pod: Json, now: datetime, reason: str, message: str) -> dict[str, Any]:
    """Scheduled, but a container cannot start: ErrImagePull, ImagePullBackOff, CreateContainerConfigError …

    A worker's init container has the image of its Ray container, so it is the one that waits.
    """
    waits = {"waiting": {"reason": reason, "message": message}}
    if not pod["spec"].get("initContainers"):
        return _status(pod, "Pending", now, waits, ready=False)
    status = _status(pod, "Pending", now, {"waiting": {"reason": "PodInitializing"}}, ready=False)
    first = pod["spec"]["initContainers"][-1]
    return {**status, "initContainerStatuses": [_container(first, waits, ready=False)]}


def ended(pod: Json, now: datetime, reason: str, exit_code: int) -> dict[str, Any]:
    """The Ray container ended: started again by the kubelet, unless the Pod says Never."""
    terminated = {
        "terminated": {"reason": reason, "exitCode": exit_code, "startedAt": text_of(now), "finishedAt": text_of(now)}
    }
    if pod["spec"].get("restartPolicy", "Always") == "Never":
        return _status(pod, "Failed" if exit_code else "Succeeded", now, terminated, ready=False)
    status = running(pod, now)
    first = status["containerStatuses"][0]
    first |= {"lastState": terminated, "restartCount": container_of(pod).get("restartCount", 0) + 1}
    return status


def evicted(pod: Json, now: datetime, message: str = "The node was low on resource: memory.") -> dict[str, Any]:
    """By the kubelet, for want of memory or disk."""
    return {"phase": "Failed", "reason": "Evicted", "message": message}


def preempted(pod: Json, now: datetime) -> dict[str, Any]:
    """By the scheduler, for a Pod of a higher priority."""
    gone = ended({**pod, "spec": {**pod["spec"], "restartPolicy": "Never"}}, now, "Error", 137)
    words = "default-scheduler: preempting to accommodate a higher priority pod"
    condition = _condition("DisruptionTarget", True, now, "PreemptionByScheduler", words)
    return {**gone, "phase": "Failed", "conditions": [*gone["conditions"], condition]}


def _status(pod: Json, phase: str, now: datetime, state: Mapping[str, Any], *, ready: bool) -> dict[str, Any]:
    begun = pod.get("status", {}).get("startTime", text_of(now))
    kinds = {"PodScheduled": True, "Initialized": phase != "Pending", "ContainersReady": ready, "Ready": ready}
    number = int(hashlib.sha256(pod["metadata"]["name"].encode()).hexdigest()[:4], 16)
    address = {} if phase == "Pending" else {"podIP": f"10.244.{number >> 8}.{number & 255}"}
    containers = pod["spec"]["containers"]
    return {
        "phase": phase,
        "startTime": begun,
        **address,
        "conditions": [_condition(kind, value, now) for kind, value in kinds.items()],
        "containerStatuses": [_container(container, state, ready=ready) for container in containers],
    }


def _container(container: Json, state: Mapping[str, Any], *, ready: bool) -> dict[str, Any]:
    return {
        "name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "restartCount": 0,
        "started": "running" in state, "state": dict(state),
    }  # fmt: skip


def _condition(kind: str, value: bool, now: datetime, reason: str = "", message: str = "") -> dict[str, Any]:
    entry = {
        "type": kind, "status": str(value), "lastTransitionTime": text_of(now), "reason": reason, "message": message,
    }  # fmt: skip
    return {key: text for key, text in entry.items() if text}
