"""The account that the chart gives an operator, with exactly the roles that it renders, and a kubeconfig for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from support.apiserver import Namespace
from support.charts import objects

_KINDS = ("ServiceAccount", "Role", "RoleBinding")
_KNOWN_SECONDS = 10.0


def operators_kubeconfig(namespace: Namespace, path: Path) -> Path:
    """Install what a release that watches this one namespace brings of accounts and roles; a kubeconfig at `path`."""
    release = objects({"watchNamespace": namespace.name}, namespace=namespace.name)
    given = {"apiVersion": "v1", "kind": "List", "items": [item for item in release if item["kind"] in _KINDS]}
    namespace.server.kubectl("apply", "-f", "-", text=json.dumps(given))
    (deployment,) = [item for item in release if item["kind"] == "Deployment"]
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    _until_known(namespace, account)
    return _kubeconfig(namespace, account, path)


def _until_known(namespace: Namespace, account: str) -> None:
    """The authorizer learns of roles by a watch of its own."""
    who = f"--as=system:serviceaccount:{namespace.name}:{account}"
    end = time.monotonic() + _KNOWN_SECONDS
    while namespace.run_kubectl("auth", "can-i", "list", "rayservices.ray.io", who).stdout.strip() != "yes":
        assert time.monotonic() < end, "the roles never took effect"
        time.sleep(0.05)


def _kubeconfig(namespace: Namespace, account: str, path: Path) -> Path:
    """With a token of the account: what a pod finds mounted."""
    config = json.loads(Path(namespace.server.kubeconfig).read_text())
    place = f"/api/v1/namespaces/{namespace.name}/serviceaccounts/{account}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = namespace.server.request("POST", place, asked)["status"]["token"]
    config["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(config))
    return path
