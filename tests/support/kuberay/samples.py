"""Small RayJobs and RayServices, as a user of KubeRay would write them."""

from __future__ import annotations

import json
from typing import Any

NAMESPACE = "team"


def group(name: str = "", replicas: int = 1, image: str = "ray:1") -> dict[str, Any]:
    """A head's group, or with a name a group of workers."""
    template = {"spec": {"containers": [{"name": "ray", "image": image}]}}
    head = {"rayStartParams": {"num-cpus": "0"}, "template": template}
    sizes = {"replicas": replicas, "minReplicas": replicas, "maxReplicas": replicas}
    return {**head, "rayStartParams": {}, "groupName": name, **sizes} if name else head


def cluster_spec(**fields: Any) -> dict[str, Any]:
    """A head and one worker."""
    return {
        "rayVersion": "2.60.0", "headGroupSpec": group(), "workerGroupSpecs": [group("workers")], **fields,
    }  # fmt: skip


def rayjob(name: str = "tiny-1", status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A RayJob that shuts its cluster down; a field given as None is left out."""
    usual = {
        "entrypoint": f"modelyard run -f job.yaml --status-configmap {name}-status",
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": cluster_spec(),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": "u", "labels": {"modelyard.dev/name": "tiny"}},
        "spec": {key: value for key, value in {**usual, **spec}.items() if value is not None},
        **({"status": status} if status is not None else {}),
    }


def serve_config(version: str, **application: Any) -> str:
    """One application for a model's version."""
    entry = {"name": "modelyard", "import_path": "app:build", "args": {"model": version}, **application}
    return json.dumps({"applications": [entry]})


def rayservice(name: str = "tiny", version: str = "tiny@1", **spec: Any) -> dict[str, Any]:
    """A RayService that serves a version."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": "u", "labels": {"modelyard.dev/name": name}},
        "spec": {"serveConfigV2": serve_config(version), "rayClusterConfig": cluster_spec(), **spec},
    }
