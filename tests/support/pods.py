"""What a pod has of the cluster: a ServiceAccount with the rights given, its token in a folder, its variables."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.kube import PodAccount, in_cluster
from support.apiserver import ApiServer, Namespace

VERBS = ("get", "patch")


@dataclass(frozen=True)
class Pod:
    """A process that the cluster would run as a pod: `environment` is what it sees."""

    namespace: Namespace
    service_account: str
    folder: Path
    environment: Mapping[str, str]

    @property
    def account(self) -> PodAccount:
        """Its account, as the platform finds it."""
        found = in_cluster(self.environment)
        assert found is not None
        return found

    def renew_token(self) -> str:
        """Do as the kubelet does: another token in the same file. Returns it."""
        path = f"/api/v1/namespaces/{self.namespace.name}/serviceaccounts/{self.service_account}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        token: str = self.namespace.server.request("POST", path, asked)["status"]["token"]
        renewed = self.folder / ".token.new"
        renewed.write_text(token)
        os.replace(renewed, self.folder / "token")
        return token

    @contextlib.contextmanager
    def running(self, root: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """`modelyard …` in `root` as this pod; killed at the end if it still runs."""
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "modelyard"), *words], cwd=root, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={**os.environ, **self.environment, **(env or {})},
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def make_pod(namespace: Namespace, folder: Path, configmaps: Sequence[str], name: str = "driver") -> Pod:
    """A pod whose Role grants get and patch of these ConfigMaps by name, and nothing else."""
    role = {
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": VERBS, "resourceNames": configmaps}],
    }
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}],
    }
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace.name}"
    namespace.server.request(
        "POST", f"/api/v1/namespaces/{namespace.name}/serviceaccounts", {"metadata": {"name": name}}
    )
    namespace.server.request("POST", f"{rbac}/roles", role)
    namespace.server.request("POST", f"{rbac}/rolebindings", binding)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_text(authority(namespace.server))
    pod = Pod(namespace, name, folder, pod_environment(namespace, folder))
    pod.renew_token()
    return pod


def pod_environment(namespace: Namespace, folder: Path) -> dict[str, str]:
    """What the kubelet and the operator's template set."""
    server = urlsplit(namespace.server.url)
    return {
        "KUBERNETES_SERVICE_HOST": server.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(server.port or 443),
        "MODELYARD_NAMESPACE": namespace.name,
        "MODELYARD_SERVICE_ACCOUNT_FOLDER": str(folder),
    }


def authority(server: ApiServer) -> str:
    """The server's certificate authority, as PEM."""
    cluster = json.loads(Path(server.kubeconfig).read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def make_configmap(namespace: Namespace, name: str, data: Mapping[str, str] | None = None) -> None:
    """An empty ConfigMap, as the operator makes it."""
    item = {"metadata": {"name": name}, "data": dict(data or {})}
    namespace.server.request("POST", f"/api/v1/namespaces/{namespace.name}/configmaps", item)


def data_of(namespace: Namespace, name: str) -> dict[str, str]:
    """A ConfigMap's data now."""
    found = namespace.server.request("GET", f"/api/v1/namespaces/{namespace.name}/configmaps/{name}")
    data: dict[str, str] = found.get("data") or {}
    return data
