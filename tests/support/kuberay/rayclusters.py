"""RayClusters: how RayJobs and RayServices make them, and their controller (KubeRay v1.7) as a pure function.

A cluster here is its object, its head Service, one Pod per node. Not played: GCS fault tolerance, multi-host groups.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from modelyard_operator.kinds.objects import Json, key_of
from support.kuberay.pods import container_of, is_ready, pod_of
from support.kuberay.vocabulary import (
    FROM_KIND_LABEL,
    FROM_NAME_LABEL,
    GROUP_LABEL,
    GROUPS_ANNOTATION,
    HASH_ANNOTATION,
    NODE_LABEL,
    VERSION,
    VERSION_ANNOTATION,
    Make,
    Names,
    Remove,
    Write,
    WriteStatus,
    owned_by,
    text_of,
    with_condition,
    without_empty,
)

_UNHASHED = ("replicas", "minReplicas", "maxReplicas", "scaleStrategy")


def cluster_of_job(rayjob: Json, name: str) -> dict[str, Any]:
    """The RayCluster that a RayJob makes: its spec as it stands now, its labels, and where it came from."""
    mode = rayjob["spec"].get("submissionMode") or "K8sJobMode"
    cluster = _cluster(rayjob, name, rayjob["spec"]["rayClusterSpec"])
    cluster["metadata"]["labels"]["ray.io/job-submission-mode"] = mode
    return cluster


def cluster_of_service(service: Json, name: str) -> dict[str, Any]:
    """The RayCluster that a RayService makes: with the hash by which a change is told from a scaling."""
    spec = service["spec"]["rayClusterConfig"]
    cluster = _cluster(service, name, spec)
    cluster["metadata"]["annotations"] |= {
        HASH_ANNOTATION: hash_of(spec),
        GROUPS_ANNOTATION: str(len(spec.get("workerGroupSpecs", ()))),
        VERSION_ANNOTATION: VERSION,
    }
    return cluster


def _cluster(owner: Json, name: str, spec: Json) -> dict[str, Any]:
    metadata = owner["metadata"]
    labels = {FROM_NAME_LABEL: metadata["name"], FROM_KIND_LABEL: owner["kind"]}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**metadata.get("labels", {}), **labels},
            "annotations": dict(metadata.get("annotations", {})),
            "ownerReferences": owned_by(owner),
        },
        "spec": copy.deepcopy(dict(spec)),
    }


def hash_of(spec: Json, groups: int | None = None) -> str:
    """Of a spec without what scaling and queueing change; of its first `groups` worker groups only, when told so."""
    groups_kept = list(spec.get("workerGroupSpecs", ()))[:groups]
    bare = {
        **_without(spec, "suspend", "upgradeStrategy"),
        "headGroupSpec": _unscheduled(spec["headGroupSpec"]),
        "workerGroupSpecs": [_unscheduled(_without(group, *_UNHASHED)) for group in groups_kept],
    }
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()[:32]


def _unscheduled(group: Json) -> dict[str, Any]:
    template = group["template"]
    return {**group, "template": {**template, "spec": _without(template["spec"], "tolerations", "schedulingGates")}}


def _without(item: Json, *fields: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in fields}


def next_cluster(cluster: Json, pods: Sequence[Json], has_service: bool, now: datetime, names: Names) -> list[Write]:
    """One reconcile of a RayCluster with its Pods: those that are missing, those that are lost, and the status."""
    if "deletionTimestamp" in cluster["metadata"]:
        return []
    writes: list[Write] = [] if has_service else [Make(_head_service(cluster))]
    if cluster["spec"].get("suspend"):
        writes += [Remove(key_of(pod)) for pod in pods if not _leaving(pod)]
    else:
        writes += _pod_writes(cluster, [pod for pod in pods if not _leaving(pod)], names)
    status = cluster_status(cluster, pods, now)
    return writes if _same(status, cluster.get("status", {})) else [*writes, WriteStatus(status)]


def _leaving(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _same(new: Json, old: Json) -> bool:
    return {**new, "lastUpdateTime": ""} == {**old, "lastUpdateTime": ""}


def _pod_writes(cluster: Json, pods: Sequence[Json], names: Names) -> Iterator[Write]:
    lost = [pod for pod in pods if is_lost(pod)]
    yield from (Remove(key_of(pod)) for pod in lost)
    living = [pod for pod in pods if pod not in lost]
    if not any(_group(pod) == "headgroup" for pod in living):
        yield Make(pod_of(cluster, cluster["spec"]["headGroupSpec"], "headgroup", names()))
    for group in cluster["spec"].get("workerGroupSpecs", ()):
        name = group["groupName"]
        named = set(group.get("scaleStrategy", {}).get("workersToDelete", ()))
        have = [pod for pod in living if _group(pod) == name and pod["metadata"]["name"] not in named]
        yield from (Remove(key_of(pod)) for pod in living if pod["metadata"]["name"] in named)
        missing = wanted(group) - len(have)
        yield from (Make(pod_of(cluster, group, name, names())) for _ in range(missing))
        yield from (Remove(key_of(pod)) for pod in have[wanted(group) :])


def is_lost(pod: Json) -> bool:
    """Whether the controller deletes this Pod and makes another: ended, or its Ray container will not start again."""
    status = pod.get("status", {})
    if status.get("phase") in {"Failed", "Succeeded"}:
        return True
    ended = "terminated" in container_of(pod).get("state", {})
    return ended and pod["spec"].get("restartPolicy", "Always") == "Never"


def wanted(group: Json) -> int:
    """Replicas of a group, clamped into its bounds."""
    if group.get("suspend"):
        return 0
    least, most = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)
    number: int = min(max(group.get("replicas", least), least), most)
    return number


def _group(pod: Json) -> str:
    name: str = pod["metadata"]["labels"][GROUP_LABEL]
    return name


def _head_service(cluster: Json) -> dict[str, Any]:
    metadata = cluster["metadata"]
    ports = [
        {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
        for name, port in (("dashboard", 8265), ("gcs-server", 6379), ("client", 10001))
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{metadata['name']}-head-svc",
            "namespace": metadata["namespace"],
            "labels": {"ray.io/cluster": metadata["name"], NODE_LABEL: "head"},
            "ownerReferences": owned_by(cluster),
        },
        "spec": {
            "clusterIP": "None",
            "selector": {"ray.io/cluster": metadata["name"], NODE_LABEL: "head"},
            "ports": ports,
        },
    }


def cluster_status(cluster: Json, pods: Sequence[Json], now: datetime) -> dict[str, Any]:
    """The status from the Pods. `state` stays `ready` once it was: later losses show in conditions and counts."""
    generation = cluster["metadata"].get("generation", 1)
    heads = [pod for pod in pods if _group(pod) == "headgroup"]
    workers = [pod for pod in pods if _group(pod) != "headgroup"]
    groups = cluster["spec"].get("workerGroupSpecs", ())
    desired = sum(wanted(group) for group in groups)
    all_ready = bool(heads) and len(workers) >= desired and all(is_ready(pod) for pod in pods)
    status = dict(cluster.get("status", {}))
    for condition in _conditions(status, heads, all_ready):
        status = with_condition(status, *condition, now, generation)
    suspended = bool(cluster["spec"].get("suspend")) and not pods
    state = "suspended" if suspended else "ready" if all_ready else status.get("state", "")
    times = status.get("stateTransitionTimes", {})
    if state and state != status.get("state"):
        times = {**times, state: text_of(now)}
    counts = {
        "desiredWorkerReplicas": desired,
        "minWorkerReplicas": sum(group.get("minReplicas", 0) for group in groups),
        "maxWorkerReplicas": sum(group.get("maxReplicas", 0) for group in groups),
        "availableWorkerReplicas": sum(pod.get("status", {}).get("phase") == "Running" for pod in workers),
        "readyWorkerReplicas": sum(is_ready(pod) for pod in workers),
    }
    head = _head_info(cluster, heads)
    kept = without_empty({**status, "state": state, "stateTransitionTimes": times, "head": head})
    return {**kept, **counts, "observedGeneration": generation, "lastUpdateTime": text_of(now)}


def _conditions(status: Json, heads: Sequence[Json], all_ready: bool) -> list[tuple[str, str, str, str]]:
    ready = bool(heads) and is_ready(heads[0])
    reason = "HeadPodRunningAndReady" if ready else "ContainersNotReady" if heads else "HeadPodNotFound"
    found = [("HeadPodReady", str(ready), reason, "")]
    provisioned = any(
        entry["type"] == "RayClusterProvisioned" and entry["status"] == "True" for entry in status.get("conditions", ())
    )
    if all_ready and not provisioned:
        found.append(("RayClusterProvisioned", "True", "AllPodRunningAndReadyFirstTime", "All Ray Pods are ready"))
    elif not provisioned:
        found.append(("RayClusterProvisioned", "False", "RayClusterPodsProvisioning", "RayCluster Pods are being made"))
    return found


def _head_info(cluster: Json, heads: Sequence[Json]) -> dict[str, str]:
    service = f"{cluster['metadata']['name']}-head-svc"
    if not heads:
        return {"serviceName": service}
    address = heads[0].get("status", {}).get("podIP", "")
    fields = {"podName": heads[0]["metadata"]["name"], "podIP": address, "serviceIP": address, "serviceName": service}
    return without_empty(fields)
