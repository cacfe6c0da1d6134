"""What KubeRay's controllers refuse although the schema let it pass (v1.7): the rules that our operator could break.

Each function returns the fault in KubeRay's manner, or an empty string. Not played: history server, mTLS, Redis,
deletionStrategy in depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from modelyard_operator.kinds.objects import Json

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_CLUSTER_NAME = 53
LONGEST_NAME = 47  # of a RayJob or RayService: the cluster's, less a hyphen and five random characters
_OLDEST_TOKENS = (2, 52)


def rayjob_fault(rayjob: Json) -> str:
    """The first fault of a RayJob, in the order in which KubeRay looks."""
    spec, mode = rayjob["spec"], mode_of(rayjob)
    return next(
        (
            fault
            for fault in (
                name_fault("RayJob", rayjob["metadata"]["name"], LONGEST_NAME),
                *_spec_faults(spec, mode),
                _status_fault(rayjob, mode),
            )
            if fault
        ),
        "",
    )


def rayservice_fault(service: Json) -> str:
    """The first fault of a RayService."""
    spec = service["spec"]
    strategy = spec.get("upgradeStrategy", {}).get("type", "NewCluster")
    named = spec["rayClusterConfig"]["headGroupSpec"].get("headService", {}).get("metadata", {}).get("name")
    faults = (
        name_fault("RayService", service["metadata"]["name"], LONGEST_NAME),
        cluster_fault(spec["rayClusterConfig"]),
        "headService.metadata.name should not be set" if named else "",
        f"upgradeStrategy.type {strategy} is invalid" if strategy not in _STRATEGIES else "",
        "rayClusterDeletionDelaySeconds is negative" if spec.get("rayClusterDeletionDelaySeconds", 0) < 0 else "",
    )
    return next((f"The RayService spec is invalid: {fault}" for fault in faults if fault), "")


_STRATEGIES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")


def mode_of(rayjob: Json) -> str:
    """The submission mode, with the schema's default."""
    mode: str = rayjob["spec"].get("submissionMode") or "K8sJobMode"
    return mode


def name_fault(kind: str, name: str, longest: int) -> str:
    """A name that KubeRay cannot build upon."""
    if len(name) > longest:
        return f"The {kind} metadata is invalid: {kind} name should be no more than {longest} characters"
    if not _DNS_1035.fullmatch(name):
        return f"The {kind} metadata is invalid: {kind} name should be a valid DNS1035 label"
    return ""


def _spec_faults(spec: Json, mode: str) -> Iterator[str]:
    prefix = "The RayJob spec is invalid: "
    for fault in (*_suspend_and_selector(spec, mode), *_of_mode(spec, mode), *_numbers(spec)):
        yield prefix + fault if fault else ""
    if "rayClusterSpec" in spec:
        fault = cluster_fault(spec["rayClusterSpec"])
        yield prefix + fault if fault else ""
    try:
        yaml.safe_load(spec.get("runtimeEnvYAML", ""))
    except yaml.YAMLError as error:
        yield f"failed to unmarshal RuntimeEnvYAML: {type(error).__name__}"


def _suspend_and_selector(spec: Json, mode: str) -> Iterator[str]:
    suspend, shutdown, selector = spec.get("suspend"), spec.get("shutdownAfterJobFinishes"), spec.get("clusterSelector")
    if suspend and not shutdown:
        yield "a RayJob with shutdownAfterJobFinishes set to false is not allowed to be suspended"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not shutdown:
        yield "a RayJob with shutdownAfterJobFinishes set to false cannot have TTLSecondsAfterFinished"
    if spec.get("deletionStrategy", {}).get("deletionRules") and shutdown:
        yield "shutdownAfterJobFinishes and deletionStrategy.deletionRules are mutually exclusive"
    if suspend and selector:
        yield "the ClusterSelector mode doesn't support the suspend operation"
    if not selector and "rayClusterSpec" not in spec:
        yield "one of RayClusterSpec or ClusterSelector must be set"
    if selector and not selector.get("ray.io/cluster"):
        yield "cluster name in ClusterSelector should not be empty"
    if selector and mode == "SidecarMode":
        yield "ClusterSelector is not supported in SidecarMode"
    if selector and spec.get("backoffLimit", 0) > 0:
        yield "BackoffLimit is incompatible with ClusterSelector mode"


def _of_mode(spec: Json, mode: str) -> Iterator[str]:
    if mode == "InteractiveMode" and spec.get("backoffLimit", 0) > 0:
        yield "BackoffLimit is incompatible with InteractiveMode"
    if mode != "SidecarMode":
        return
    for field in ("submitterPodTemplate", "submitterConfig"):
        if field in spec:
            yield f"Currently, SidecarMode doesn't support {field}"
    pod = spec.get("rayClusterSpec", {}).get("headGroupSpec", {}).get("template", {}).get("spec", {})
    if pod.get("restartPolicy", "Never") != "Never":
        yield "restartPolicy for head Pod should be Never or unset when using SidecarMode"


def _numbers(spec: Json) -> Iterator[str]:
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if field in spec and spec[field] <= 0:
            yield f"{field} must be a positive integer"
    for field in ("backoffLimit", "ttlSecondsAfterFinished"):
        if spec.get(field, 0) < 0:
            yield f"{field} must be a non-negative integer"


def _status_fault(rayjob: Json, mode: str) -> str:
    waiting = rayjob.get("status", {}).get("jobDeploymentStatus") == "Waiting"
    return "JobDeploymentStatus cannot be `Waiting` outside InteractiveMode" if waiting and mode != _WAITS else ""


_WAITS = "InteractiveMode"


def cluster_fault(spec: Json) -> str:
    """The first fault of a cluster's spec, wherever it stands."""
    return next((fault for fault in _cluster_faults(spec) if fault), "")


def _cluster_faults(spec: Json) -> Iterator[str]:
    head = spec["headGroupSpec"]
    if not head.get("template", {}).get("spec", {}).get("containers"):
        yield "headGroupSpec should have at least one container"
    yield _resources_fault("Head", head)
    scaling = spec.get("enableInTreeAutoscaling", False)
    for group in spec.get("workerGroupSpecs", ()):
        yield from _group_faults(group, scaling)
    if scaling and _is_v2(spec):
        groups = [("head", head), *((group["groupName"], group) for group in spec.get("workerGroupSpecs", ()))]
        for name, group in groups:
            if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
                yield f"restartPolicy for {name} Pod should be Never or unset when using autoscaler V2"
    if spec.get("authOptions", {}).get("mode") == "token":
        yield _token_fault(spec.get("rayVersion", ""))
    if "upgradeStrategy" in spec:
        yield "upgradeStrategy cannot be set when RayCluster is created by a RayJob or a RayService"


def _group_faults(group: Json, scaling: bool) -> Iterator[str]:
    name, least, most = group["groupName"], group.get("minReplicas"), group.get("maxReplicas")
    if not group.get("template", {}).get("spec", {}).get("containers"):
        yield "workerGroupSpec should have at least one container"
    if not scaling and (least is None or most is None):
        yield f"worker group {name} must set both minReplicas and maxReplicas when autoscaling is disabled"
    if (least or 0) < 0 or (most or 0) < 0:
        yield f"worker group {name} has negative minReplicas or maxReplicas"
    if least is not None and most is not None and least > most:
        yield f"worker group {name} has minReplicas {least} greater than maxReplicas {most}"
    if scaling and group.get("suspend"):
        yield f"worker group {name} cannot be suspended with Autoscaler enabled"
    yield _resources_fault(name, group)


def _resources_fault(name: str, group: Json) -> str:
    start: Any = group.get("rayStartParams") or {}
    if "labels" in start:
        return f"rayStartParams['labels'] is not supported for {name} group"
    both = group.get("resources") and any(start.get(key) for key in ("num-cpus", "num-gpus", "memory", "resources"))
    return f"resource fields should not be set in both rayStartParams and Resources for {name} group" if both else ""


def _is_v2(spec: Json) -> bool:
    version = spec.get("autoscalerOptions", {}).get("version")
    return version == "v2" or (version is None and _numbers_of(spec.get("rayVersion", "")) >= (2, 47))


def _token_fault(version: str) -> str:
    if not version:
        return "authOptions.mode is 'token' but RayVersion was not specified"
    if _numbers_of(version) < _OLDEST_TOKENS:
        return f"authOptions.mode is 'token' but minimum Ray version is 2.52.0, got {version}"
    return ""


def _numbers_of(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
