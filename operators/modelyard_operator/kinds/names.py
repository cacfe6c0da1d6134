"""Names, labels and annotations of children: functions of the parent, so a create is idempotent.

KubeRay takes RayJob and RayService names of at most 47 characters; ours have at most 30 + 1 + 8 + 1 + 4 = 44.
"""

from __future__ import annotations

from modelyard_operator.kinds.objects import Json

GROUP = "modelyard.dev"
MANAGED_BY = {"app.kubernetes.io/managed-by": "modelyard-operator"}
KIND_LABEL = f"{GROUP}/kind"
NAME_LABEL = f"{GROUP}/name"
ATTEMPT_LABEL = f"{GROUP}/attempt"
DIGEST_ANNOTATION = f"{GROUP}/spec-digest"
MANIFEST_FOLDER = "/etc/modelyard"  # the snapshot's mount: manifest.yaml
STORAGE_FOLDER = "/mnt/modelyard"  # the claim's mount, the working folder of driver and workers: the storage root
MANIFEST_KEY = "manifest.yaml"
STATUS_KEY = "status.json"
CONTROL_KEY = "control"  # `stop` asks the driver to commit and stop
INDEX_KEY = "index.json"


def base_name(parent: Json) -> str:
    """`<name cut to 30>-<8 of uid>`: of what a parent has once (snapshot, ServiceAccount, Role, RayService)."""
    metadata = parent["metadata"]
    return f"{metadata['name'][:30].rstrip('-')}-{metadata['uid'].replace('-', '')[:8]}"


def child_name(parent: Json, attempt: int) -> str:
    """`<base>-<attempt>`: of a RayJob; its status ConfigMap is `<child>-status`."""
    return f"{base_name(parent)}-{attempt}"


def status_name(child: str) -> str:
    """The ConfigMap into which the driver of a child writes its status document."""
    return f"{child}-status"


def index_name(model: str) -> str:
    """The ConfigMap that is the registry's index of a model in a namespace."""
    return f"modelyard-model-{model}"


def labels_of(parent: Json, attempt: int | None = None) -> dict[str, str]:
    """Labels of every child."""
    name = parent["metadata"]["name"][:63].rstrip("-")
    labels = {**MANAGED_BY, KIND_LABEL: parent["kind"].lower(), NAME_LABEL: name}
    return labels if attempt is None else {**labels, ATTEMPT_LABEL: str(attempt)}


def selector_of(parent: Json) -> dict[str, str]:
    """Labels that all pods of a parent carry and no others."""
    labels = labels_of(parent)
    return {name: labels[name] for name in (KIND_LABEL, NAME_LABEL)}
