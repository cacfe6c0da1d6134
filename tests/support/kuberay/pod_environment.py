"""A Pod's surroundings made local: what is mounted is written to folders, and every path in it is told anew.

Mounts of ConfigMaps and Secrets become files, a claim becomes the folder that the test gives for it, emptyDirs stay
where the machine has such a path (/tmp, /dev/shm) but for HOME. The account's token is a real one, for that account.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard_operator.kinds.objects import Json
from support.apiserver import ApiServer

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# What an image would hold; and what counts starts of Ray for the suite.
_INHERITED = ("LANG", "LC_ALL", "PYTHONPATH", "TMPDIR", "MODELYARD_TESTS_RAY_STARTS")
_KUBERAYS_OWN = frozenset({"RAY_ADDRESS", "RAY_PORT", "RAY_CLUSTER_NAME", "RAY_USAGE_STATS_KUBERAY_IN_USE"})
_LABEL = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


@dataclass(frozen=True)
class LocalPod:
    """Where and with what a container's process runs; `told` rewrites paths in a text."""

    environment: dict[str, str]
    folder: Path
    paths: Mapping[str, Path]

    def told(self, text: str) -> str:
        """The text with every mount path replaced by the folder that stands for it."""
        for path, folder in sorted(self.paths.items(), key=lambda pair: -len(pair[0])):
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", str(folder), text)
        return text


def local_pod(pod: Json, server: ApiServer, scratch: Path, claims: Mapping[str, Path]) -> LocalPod:
    """The first container of a Pod, made local below `scratch`; `claims` gives each claim's folder.

    Raises KeyError for a claim without a folder, urllib's HTTPError for a ConfigMap or Secret that is not there.
    """
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
    paths, homes = {}, {}
    for mount in container.get("volumeMounts", ()):
        volume, path = volumes[mount["name"]], mount["mountPath"].rstrip("/")
        if path == ACCOUNT:
            continue  # admission puts it there; see `_account`
        folder = _folder(volume, pod, server, scratch, claims)
        if "emptyDir" in volume:
            homes[path] = folder
        else:
            paths[path] = folder / mount.get("subPath", "")
            paths[path].mkdir(parents=True, exist_ok=True)
    bare = LocalPod({}, Path(), paths)
    given = {name: bare.told(value) for name, value in _given(pod, server) if name not in _KUBERAYS_OWN}
    home = {"HOME": str(homes[given["HOME"]])} if given.get("HOME") in homes else {}
    environment = {**_image(), **given, **home, **_account(pod, server, scratch)}
    place = Path(bare.told(container["workingDir"])) if "workingDir" in container else scratch
    return LocalPod(environment, place, paths)


def with_tests(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that runs a module of this package."""
    paths = [str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _image() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def _folder(volume: Json, pod: Json, server: ApiServer, scratch: Path, claims: Mapping[str, Path]) -> Path:
    if "persistentVolumeClaim" in volume:
        return claims[volume["persistentVolumeClaim"]["claimName"]]
    folder = scratch / "volumes" / volume["name"]
    folder.mkdir(parents=True, exist_ok=True)
    for kind, plural, name in (("configMap", "configmaps", "name"), ("secret", "secrets", "secretName")):
        if kind in volume:
            for key, value in _data(pod, server, plural, volume[kind][name]).items():
                (folder / key).write_bytes(value)
    return folder


def _data(pod: Json, server: ApiServer, plural: str, name: str) -> dict[str, bytes]:
    item = server.request("GET", f"/api/v1/namespaces/{pod['metadata']['namespace']}/{plural}/{name}")
    if plural == "secrets":
        return {key: base64.b64decode(value) for key, value in (item.get("data") or {}).items()}
    return {key: value.encode() for key, value in (item.get("data") or {}).items()}


def _given(pod: Json, server: ApiServer) -> list[tuple[str, str]]:
    """The container's variables, envFrom first, as the kubelet resolves them."""
    container, found = pod["spec"]["containers"][0], []
    for source in container.get("envFrom", ()):
        for kind, plural in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if kind in source:
                data = _data(pod, server, plural, source[kind]["name"])
                found += [(source.get("prefix", "") + key, value.decode()) for key, value in data.items()]
    return found + [(entry["name"], _value(entry, pod, server)) for entry in container.get("env", ())]


def _value(entry: Json, pod: Json, server: ApiServer) -> str:
    if "valueFrom" not in entry:
        text: str = entry.get("value", "")
        return text
    source: dict[str, Any] = entry["valueFrom"]
    for kind, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if kind in source:
            return _data(pod, server, plural, source[kind]["name"])[source[kind]["key"]].decode()
    field: str = source["fieldRef"]["fieldPath"]
    named = _LABEL.fullmatch(field)
    if named:
        return str(pod["metadata"].get(named.group(1), {}).get(named.group(2), ""))
    part, _, name = field.partition(".")
    return str(pod.get(part, {}).get(name, ""))


def _account(pod: Json, server: ApiServer, scratch: Path) -> dict[str, str]:
    """The folder of the account's token, and where the API server is; the latter every Pod is told."""
    address = urlsplit(server.url)
    told = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
    folder = scratch / "serviceaccount"
    folder.mkdir(parents=True, exist_ok=True)
    namespace, name = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
    if pod["spec"].get("automountServiceAccountToken", True):
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        (folder / "token").write_text(server.request("POST", path, wish)["status"]["token"])
        (folder / "namespace").write_text(namespace)
        authority = json.loads(Path(server.kubeconfig).read_text())["clusters"][0]["cluster"]
        (folder / "ca.crt").write_bytes(base64.b64decode(authority["certificate-authority-data"]))
    return {**told, "MODELYARD_SERVICE_ACCOUNT_FOLDER": str(folder)}
