"""Objects of somebody else in the operator's way: our labels without our owner, our names in other namespaces.

Whatever happens to the operator, they stay as they are, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard_operator.kinds.names import ATTEMPT_LABEL, KIND_LABEL, MANAGED_BY, NAME_LABEL
from modelyard_operator.kinds.objects import Json
from support.job_worlds import NAMESPACE
from support.kuberay.vocabulary import EXTERNAL_MANAGER

ELSEWHERE = "another-team"


def foreign() -> list[Json]:
    """What is planted in every scenario."""
    return [
        *(
            _thing(*kind, "with-our-labels", NAMESPACE, labels)
            for kind in _KINDS
            for labels in (_labels("trainingjob"),)
        ),
        _thing("v1", "ConfigMap", "of-a-deployment", NAMESPACE, _labels("modeldeployment")),
        _thing("v1", "ConfigMap", "modelyard-model-small", ELSEWHERE, MANAGED_BY),
        _thing("v1", "PersistentVolumeClaim", "yard", ELSEWHERE, {}),
        _thing("v1", "ConfigMap", "small-stable", ELSEWHERE, _labels("modeldeployment")),
    ]


_KINDS = (
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
    ("v1", "Service"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("ray.io/v1", "RayJob"),
    ("ray.io/v1", "RayService"),
)


def _labels(kind: str) -> dict[str, str]:
    return {**MANAGED_BY, KIND_LABEL: kind, NAME_LABEL: "small", ATTEMPT_LABEL: "1"}


def _thing(version: str, kind: str, name: str, namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    item: dict[str, Any] = {"apiVersion": version, "kind": kind, "metadata": metadata}
    if kind.startswith("Ray"):
        item["spec"] = {"managedBy": EXTERNAL_MANAGER}  # KubeRay itself leaves it alone
    return item
