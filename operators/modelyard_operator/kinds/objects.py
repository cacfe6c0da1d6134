"""Kubernetes objects as plain JSON, and the names of the kinds that the operator reads or writes.

Objects stay as the server sent them: a typed copy would drop the fields that this operator does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Resource:
    """A namespaced kind: `api_version` is `v1` or `group/version`, `plural` its name in paths."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


TRAINING_JOBS = Resource("modelyard.dev/v1alpha1", "TrainingJob", "trainingjobs")
EVALUATION_JOBS = Resource("modelyard.dev/v1alpha1", "EvaluationJob", "evaluationjobs")
MODEL_DEPLOYMENTS = Resource("modelyard.dev/v1alpha1", "ModelDeployment", "modeldeployments")
RAY_JOBS = Resource("ray.io/v1", "RayJob", "rayjobs")
RAY_CLUSTERS = Resource("ray.io/v1", "RayCluster", "rayclusters")
RAY_SERVICES = Resource("ray.io/v1", "RayService", "rayservices")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
EVENTS = Resource("v1", "Event", "events")
PERSISTENT_VOLUME_CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
PODS = Resource("v1", "Pod", "pods")
SERVICES = Resource("v1", "Service", "services")
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD_DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")

OURS = (TRAINING_JOBS, EVALUATION_JOBS, MODEL_DEPLOYMENTS)
RESOURCES = (
    *OURS, RAY_JOBS, RAY_CLUSTERS, RAY_SERVICES, CONFIG_MAPS, EVENTS, PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES,
    SERVICE_ACCOUNTS, LEASES, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS, ROLES, ROLE_BINDINGS,
)  # fmt: skip
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}


class ObjectKey(NamedTuple):
    """Where an object lies."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.namespace}/{self.name}"


def resource_of(item: Json) -> Resource:
    """The kind of an object; KeyError for one that the operator does not deal with."""
    return _BY_KIND[item["apiVersion"], item["kind"]]


def key_of(item: Json) -> ObjectKey:
    """Where an object lies."""
    metadata = item["metadata"]
    return ObjectKey(resource_of(item), metadata["namespace"], metadata["name"])


def uid_of(item: Json) -> str:
    """The server's id of an object; empty before it was created."""
    uid: str = item["metadata"].get("uid", "")
    return uid


def controller_uid(item: Json) -> str:
    """The uid of the object that controls this one; empty when none does."""
    references = item["metadata"].get("ownerReferences", ())
    return next((reference["uid"] for reference in references if reference.get("controller")), "")


def owner_reference(parent: Json) -> dict[str, Any]:
    """The reference by which a child goes when its parent does. Never blocks the parent's deletion."""
    return {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
