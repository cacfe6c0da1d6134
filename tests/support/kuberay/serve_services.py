"""The head and serve Services of a RayService, as KubeRay names and renders them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard_operator.kinds.objects import Json
from support.kuberay.vocabulary import owned_by

DEFAULT_PORT = 8000


def service_of(rayservice: Json, role: str, selector: Mapping[str, str]) -> dict[str, Any]:
    """The Service of a role (`head`, `serve`), turned to the Pods of a selector."""
    metadata = rayservice["metadata"]
    serve = {"serve": serve_port(rayservice) or DEFAULT_PORT}
    ports = serve if role == "serve" else {"dashboard": 8265, "gcs-server": 6379, **serve}
    own = {"ray.io/originated-from-cr-name": metadata["name"], "ray.io/originated-from-crd": "RayService"}
    entries = [{"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(rayservice, role),
            "namespace": metadata["namespace"],
            "labels": {**_wished(rayservice, role).get("labels", {}), **own},
            "ownerReferences": owned_by(rayservice),
        },
        "spec": {"type": "ClusterIP", "selector": dict(selector), "ports": entries},
    }


def service_name(rayservice: Json, role: str) -> str:
    """The spec may name the serve Service; a name for the head's is refused by validation."""
    name: str = _wished(rayservice, role).get("name") or f"{rayservice['metadata']['name']}-{role}-svc"
    return name


def serve_port(rayservice: Json) -> int | None:
    """The head's port named `serve`, 8000 when it lists none at all; None: there can be no serve Service."""
    head = rayservice["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    ports = head.get("ports", ())
    named = [port["containerPort"] for port in ports if port.get("name", "").split("-")[0] == "serve"]
    return named[0] if named else None if ports else DEFAULT_PORT


def _wished(rayservice: Json, role: str) -> Json:
    metadata: Json = rayservice["spec"].get("serveService", {}).get("metadata", {}) if role == "serve" else {}
    return metadata
