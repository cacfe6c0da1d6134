"""A ModelDeployment as a RayService: the same wish renders the same bytes, and scale is laid over what stands.

A rendering is made once for a wish (its digest stands in an annotation) and never again while the wish is the same, so
that neither an upgrade of this operator nor the server's defaulting starts a rollout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from modelyard.spec import ModelDeployment, ModelDeploymentSpec
from modelyard.spec.digests import canonical
from modelyard_operator.kinds.names import GROUP, base_name, labels_of
from modelyard_operator.kinds.objects import Json
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.deployments.pods import OBJECT_STORE_BYTES, SERVE_PORT, head_template, replica_template
from modelyard_operator.plan.reading import dig, listed, text, whole
from modelyard_operator.plan.registry_index import ModelVersion
from modelyard_operator.plan.templates import QUEUE_LABEL

APPLICATION = "modelyard"
DEPLOYMENT = "replica"
GROUP_NAME = "replicas"
REPLICA_RESOURCE = "modelyard_replica"  # one in each replica's pod: two small replicas never share one
RESTART_ANNOTATION = f"{GROUP}/restarted-at"  # on a ModelDeployment: another value rolls out anew
HEAD_ROOM = 8  # replicas that can be added before a living cluster must be patched; chosen by feel
OLD_CLUSTER_SECONDS = 60  # how long streams of the version before may still go on
WAITING_PER_PLACE = 4  # as the gateway's own admission, so that it answers 429 before Serve queues without bound
IDLE_SECONDS = 300  # before an empty pod goes; longer than a replica takes to start after its pod
# What of `runtime` concerns no pod: a change of it rolls nothing out.
_NOT_OF_PODS = {"startDeadlineSeconds", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "queue"}


def wish_digest(manifest: ModelDeployment, model: ModelVersion, restarted: str = "") -> str:
    """`sha256:…` over what a rollout is for: the version and how it is served, not how many replicas there are.

    Over the wish, not over its rendering: defaults left out and new fields unset change nothing.
    """
    spec = manifest.spec
    runtime = canonical(spec.runtime) if spec.runtime is not None else {}
    wish = {
        "model": model.label,
        "modelDigest": model.digest,
        "engine": canonical(spec.engine),
        "resources": canonical(spec.resources),
        "storage": canonical(spec.storage) if spec.storage is not None else None,
        "runtime": of_pods(runtime),
        "restarted": restarted,
    }
    return "sha256:" + hashlib.sha256(_bytes(wish).encode()).hexdigest()


def of_pods(runtime: Mapping[str, Any]) -> dict[str, Any]:
    """What of a canonical `runtime` determines pods."""
    return {name: value for name, value in runtime.items() if name not in _NOT_OF_PODS}


def render(
    parent: Json, manifest: ModelDeployment, model: ModelVersion, digest: str, settings: Settings
) -> dict[str, Any]:
    """The RayService's spec, scale included."""
    spec = {
        "upgradeStrategy": {"type": "NewCluster"},
        "rayClusterDeletionDelaySeconds": OLD_CLUSTER_SECONDS,
        "serveService": {
            "metadata": {"name": base_name(parent), "labels": labels_of(parent)},
            "spec": {"type": "ClusterIP"},
        },
        "serveConfigV2": _text(_serve_config(manifest, model)),
        "rayClusterConfig": _cluster(parent, manifest, model, digest, settings),
    }
    return scaled(spec, manifest.spec)


def labels(parent: Json, manifest: ModelDeployment) -> dict[str, str]:
    """The RayService's labels; of a deployment with a queue Kueue holds and lets go."""
    runtime = manifest.spec.runtime
    queue = {QUEUE_LABEL: runtime.queue} if runtime is not None and runtime.queue else {}
    return {**labels_of(parent), **queue}


def wished_suspend(spec: ModelDeploymentSpec) -> bool | None:
    """Whether the RayService sleeps; None when that is Kueue's to say."""
    if spec.runtime is not None and spec.runtime.queue:
        return None
    return spec.replicas == 0


def most_replicas(spec: ModelDeploymentSpec) -> int:
    """How many replicas there may be."""
    return spec.autoscaling.max_replicas if spec.autoscaling is not None else spec.replicas or 0


def scaled(standing: Mapping[str, Any], spec: ModelDeploymentSpec) -> dict[str, Any]:
    """A RayService's spec with the wished scale laid over it and all else as it stands; doing it twice changes nothing.

    None of what it changes starts a rollout: Serve scales in place, KubeRay leaves group sizes out of its hash.
    """
    fewest = spec.autoscaling.min_replicas if spec.autoscaling is not None else spec.replicas or 0
    result = dict(standing)
    result["serveConfigV2"] = _scaled_config(text(standing, "serveConfigV2"), spec)
    # At zero only the head can take the request that wakes a replica; otherwise it stays out of the way.
    result["excludeHeadPodFromServeSvc"] = fewest > 0
    suspend = wished_suspend(spec)
    if suspend is not None and (suspend or dig(standing, "suspend")):
        result["suspend"] = suspend
    cluster = dig(standing, "rayClusterConfig")
    if isinstance(cluster, Mapping) and "workerGroupSpecs" in cluster:
        result["rayClusterConfig"] = {**cluster, "workerGroupSpecs": with_room(cluster, most_replicas(spec))}
    return result


def with_room(cluster: Mapping[str, Any], replicas: int) -> list[Any]:
    """The worker groups of a cluster's spec, ours large enough for so many replicas; never smaller than it is."""
    groups = dig(cluster, "workerGroupSpecs")
    return [
        {**group, "maxReplicas": replicas + HEAD_ROOM} if _lacks_room(group, replicas) else group
        for group in (groups if isinstance(groups, list | tuple) else ())
    ]


def _lacks_room(group: Any, replicas: int) -> bool:
    return text(group, "groupName") == GROUP_NAME and whole(group, "maxReplicas") < replicas


def _cluster(
    parent: Json, manifest: ModelDeployment, model: ModelVersion, digest: str, settings: Settings
) -> dict[str, Any]:
    spec, named = manifest.spec, labels_of(parent)
    at_first = spec.replicas if spec.autoscaling is None else max(1, spec.autoscaling.min_replicas)
    gpus = spec.resources.gpu
    store = {"object-store-memory": str(OBJECT_STORE_BYTES)}
    return {
        "rayVersion": settings.ray_version,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": IDLE_SECONDS,
            # KubeRay adds this container without one: a namespace of the restricted standard would refuse the head.
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        },
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0", **store},
            "template": head_template(manifest, model, named, digest, settings),
        },
        "workerGroupSpecs": [
            {
                "groupName": GROUP_NAME,
                "minReplicas": 0,
                "replicas": at_first or 0,
                "maxReplicas": most_replicas(spec) + HEAD_ROOM,
                "rayStartParams": store,
                # Ray and its autoscaler count GPUs of the names that each knows; this way those of any name count.
                "resources": {REPLICA_RESOURCE: "1", **({"GPU": str(gpus)} if gpus else {})},
                "template": replica_template(manifest, model, named, digest, settings),
            }
        ],
    }


def _serve_config(manifest: ModelDeployment, model: ModelVersion) -> dict[str, Any]:
    """Serve's config without its scale (`ray.serve.schema.ServeDeploySchema`)."""
    spec, engine = manifest.spec, manifest.spec.engine
    arguments = {
        "model": f"registry://{model.label}",
        "digest": model.digest,
        "engine": engine.model_dump(mode="json", by_alias=True, exclude_none=True),
        "resources": {"cpu": spec.resources.cpu, "gpu": spec.resources.gpu},
    }
    deployment = {
        "name": DEPLOYMENT,
        "max_ongoing_requests": engine.max_sequences * (1 + WAITING_PER_PLACE),
        "ray_actor_options": _actor(spec),
    }
    return {
        "proxy_location": "EveryNode",
        # Longer than clients keep idle connections (httpx 5 s, nginx 60 s): they close first.
        "http_options": {"host": "0.0.0.0", "port": SERVE_PORT, "keep_alive_timeout_s": 75},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": "modelyard.serve.on_ray:cluster_application",
                "args": arguments,
                "deployments": [deployment],
            }
        ],
    }


def _actor(spec: ModelDeploymentSpec) -> dict[str, Any]:
    """A replica fills its pod; the pod's one `modelyard_replica` places it, CPUs are the pod's own limit."""
    return {"num_cpus": 0, "num_gpus": spec.resources.gpu, "resources": {REPLICA_RESOURCE: 1}}


def _scaled_config(standing: str, spec: ModelDeploymentSpec) -> str:
    """A config's text with the wished number of replicas; what is not our rendering is left as it is."""
    try:
        before, config = json.loads(standing), json.loads(standing)
    except (ValueError, RecursionError):
        return standing
    for application in listed(config, "applications"):
        for deployment in listed(application, "deployments"):
            if isinstance(deployment, dict) and text(deployment, "name") == DEPLOYMENT:
                deployment.pop("num_replicas", None)
                deployment.pop("autoscaling_config", None)
                deployment.update(_scale(spec))
    return standing if config == before else _text(config)


def _scale(spec: ModelDeploymentSpec) -> dict[str, Any]:
    scaling = spec.autoscaling
    if scaling is None:
        return {"num_replicas": max(1, spec.replicas or 0)}  # Serve knows no zero; a sleeping RayService has no Serve
    config = {
        "min_replicas": scaling.min_replicas,
        "initial_replicas": max(1, scaling.min_replicas),  # a new version proves itself before it may sleep
        "max_replicas": scaling.max_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "downscale_delay_s": scaling.scale_down_delay_seconds,
    }
    return {"autoscaling_config": config}


def _text(config: Any) -> str:
    return json.dumps(config, sort_keys=True, indent=2)


def _bytes(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
