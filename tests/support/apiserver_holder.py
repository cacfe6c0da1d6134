"""The process that holds a test's API server: starts it in FOLDER, writes FOLDER/server.json, waits, stops, cleans up.

It ends with SIGTERM or, without --keep, when its standard input closes: so it outlives no session, not even a killed
one. Binaries come from the shared folder (MODELYARD_SHARED; core resources of 1.20, custom resources by a 1.36 server
with CEL, controllers) or, where KUBEBUILDER_ASSETS names an envtest folder, from there (newer, no controllers).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from modelyard_operator.kinds.crds import render

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MODELYARD_SHARED") or ROOT.parent / "shared")
SCRIPT = SHARED / "kube/apiserver.py"
KUBERAY = [SHARED / f"kube/kuberay/crds/ray.io_{kind}.yaml" for kind in ("rayclusters", "rayjobs", "rayservices")]
NO_SERVER = 3
READY_SECONDS = 120

Server = dict[str, Any]  # the fields of support.apiserver.ApiServer


def main(folder: Path, keep: bool) -> None:
    """Hold a server in FOLDER until told to end."""
    signal.signal(signal.SIGTERM, _leave)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _started(folder) as server:
            draft = folder / "server.json.new"
            draft.write_text(json.dumps(server))
            draft.rename(folder / "server.json")
            signal.pause() if keep else sys.stdin.read()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(folder, ignore_errors=True)


def _leave(number: int, _: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the stop is not to be interrupted
    sys.exit(0)


def _started(folder: Path) -> contextlib.AbstractContextManager[Server]:
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if assets and not Path(assets, "crd-apiserver").exists():
        return _envtest(folder, Path(assets))
    if SCRIPT.exists():
        return _shared(folder)
    print("no API server: set KUBEBUILDER_ASSETS, or MODELYARD_SHARED to the shared folder", file=sys.stderr)
    sys.exit(NO_SERVER)


def _crds(folder: Path) -> list[str]:
    """The files of the CRDs that there are: KubeRay's of the shared folder, and ours."""
    ours = folder / "modelyard.yaml"
    ours.write_text(render())
    return [str(path) for path in (*KUBERAY, ours) if path.exists()]


@contextlib.contextmanager
def _shared(folder: Path) -> Iterator[Server]:
    """Core resources by one server, custom resources by a newer one behind it, the controllers that tests need."""
    script = _module(SCRIPT)
    state = script.start(folder / "server", gc=True, crd_server=True, crds=_crds(folder))
    try:
        yield {
            "url": state["url"],
            "kubeconfig": str(folder / "server/kubeconfig"),
            "crd_kubeconfig": str(folder / "server/crd-direct.kubeconfig"),
            "kubectl_path": f"{state['assets']}/kubectl",
            "folder": str(folder),
            "controllers": True,
        }
    finally:
        script.stop(folder / "server")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_apiserver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _envtest(folder: Path, assets: Path) -> Iterator[Server]:
    """etcd and kube-apiserver of an envtest folder, with a certificate that the server makes for itself."""
    token = secrets.token_hex(16)
    with contextlib.ExitStack() as running:
        url = _serve(folder, assets, token, running)
        kubeconfig = folder / "kubeconfig"
        _wait("kube-apiserver", lambda: _is_ready(url, token, folder / "apiserver.crt"))
        kubeconfig.write_text(json.dumps(_kubeconfig(url, token, folder / "apiserver.crt")))
        kubeconfig.chmod(0o600)
        kubectl = [str(assets / "kubectl"), f"--kubeconfig={kubeconfig}", f"--cache-dir={folder}/kubectl"]
        for path in _crds(folder):
            subprocess.run([*kubectl, "create", "--validate=false", f"--filename={path}"], check=True)
        if _crds(folder):
            subprocess.run([*kubectl, "wait", "--for=condition=Established", "crd", "--all"], check=True)
        places = dict.fromkeys(("kubeconfig", "crd_kubeconfig"), str(kubeconfig))
        yield {"url": url, **places, "kubectl_path": kubectl[0], "folder": str(folder), "controllers": False}


def _serve(folder: Path, assets: Path, token: str, running: contextlib.ExitStack) -> str:
    """Start both processes, to be stopped with `running`; the server's URL."""
    client, peer, port = _free_ports(3)
    key = folder / "service-accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    etcd: list[Path | str] = [
        assets / "etcd", f"--data-dir={folder}/etcd", f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]  # fmt: skip
    server: list[Path | str] = [
        assets / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={folder}",
        f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true", "--disable-admission-plugins=ServiceAccount",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
    ]  # fmt: skip
    for name, command in (("etcd", etcd), ("kube-apiserver", server)):
        log = running.enter_context((folder / f"{name}.log").open("wb"))
        running.callback(_stop, subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
    return f"https://127.0.0.1:{port}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # the data is thrown away, so two seconds of grace will do
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _is_ready(url: str, token: str, certificate: Path) -> bool:
    trust = ssl.create_default_context(cafile=str(certificate))
    asked = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, context=trust, timeout=5) as answer:
        return bool(answer.read() == b"ok")


def _wait(what: str, ready: Any) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if ready():
                return
        if time.monotonic() > end:
            raise TimeoutError(f"{what} is not ready after {READY_SECONDS} s")
        time.sleep(0.1)


def _kubeconfig(url: str, token: str, certificate: Path) -> dict[str, Any]:
    authority = base64.b64encode(certificate.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
    }


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("--keep", action="store_true", help="until SIGTERM or Ctrl-C, whatever standard input does")
    given = words.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        main(given.folder.resolve(), given.keep)
