"""What a deployment has beside its RayService: a NetworkPolicy, a PodDisruptionBudget where replicas can be spared."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from modelyard.spec import ModelDeploymentSpec
from modelyard_operator.kinds.names import DIGEST_ANNOTATION, base_name, labels_of, selector_of
from modelyard_operator.kinds.objects import POD_DISRUPTION_BUDGETS, Json, Resource, owner_reference
from modelyard_operator.plan.deployments.rayservices import GROUP_NAME
from modelyard_operator.plan.templates import kuberay_peers


def guards(parent: Json, spec: ModelDeploymentSpec, served: frozenset[Resource]) -> list[dict[str, Any]]:
    """The objects, each with the digest of its rendering, by which a change of it is seen."""
    made = [_network(parent)]
    fewest = spec.autoscaling.min_replicas if spec.autoscaling is not None else spec.replicas or 0
    if fewest > 1 and POD_DISRUPTION_BUDGETS in served:
        made.append(_budget(parent, fewest))
    return made


def replica_selector(parent: Json) -> dict[str, str]:
    """Labels of the replicas' pods: KubeRay adds the group's name."""
    return {**selector_of(parent), "ray.io/group": GROUP_NAME}


def _network(parent: Json) -> dict[str, Any]:
    """Anyone may ask the endpoint and read metrics; KubeRay the dashboard; Ray's own ports are for its own pods."""
    mine = {"matchLabels": selector_of(parent)}
    spec = {
        "podSelector": mine,
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [{"podSelector": mine}]},
            {"from": kuberay_peers(), "ports": [{"port": 8265, "protocol": "TCP"}]},
            {"ports": [{"port": 8000, "protocol": "TCP"}, {"port": 8080, "protocol": "TCP"}]},
        ],
    }
    return _child(parent, "networking.k8s.io/v1", "NetworkPolicy", spec)


def _budget(parent: Json, fewest: int) -> dict[str, Any]:
    """A drain takes one replica at a time. A number: RayCluster has no scale subresource to count a share by."""
    spec = {
        "minAvailable": fewest - 1,
        "selector": {"matchLabels": replica_selector(parent)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # a replica that is not ready is no reason to hold a drain up
    }
    return _child(parent, "policy/v1", "PodDisruptionBudget", spec)


def _child(parent: Json, api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": base_name(parent),
            "namespace": parent["metadata"]["namespace"],
            "labels": labels_of(parent),
            "annotations": {DIGEST_ANNOTATION: "sha256:" + hashlib.sha256(text.encode()).hexdigest()},
            "ownerReferences": [owner_reference(parent)],
        },
        "spec": spec,
    }
