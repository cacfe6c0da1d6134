"""What surrounds processes of the stand-in: a Pod's mounts and variables made local, Services that answer by name."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from modelyard_operator.kinds.observations import Probe
from modelyard_operator.runtime.probing import Prober
from support.apiserver import ApiServer
from support.kuberay.network import PORT, answering, services
from support.kuberay.pod_environment import LocalPod, local_pod, with_tests


class FakeServer:
    """Answers the few requests of a kubelet."""

    url = "https://127.0.0.1:6443"

    def __init__(self, folder: Path) -> None:
        authority = base64.b64encode(b"authority").decode()
        config = {"clusters": [{"cluster": {"certificate-authority-data": authority}}]}
        (folder / "kubeconfig").write_text(json.dumps(config))
        self.kubeconfig = str(folder / "kubeconfig")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        return {
            "/api/v1/namespaces/team/configmaps/snapshot": {"data": {"manifest.yaml": "kind: TrainingJob\n"}},
            "/api/v1/namespaces/team/configmaps/words": {"data": {"GREETING": "hello"}},
            "/api/v1/namespaces/team/secrets/keys": {"data": {"token": base64.b64encode(b"s3cret").decode()}},
            "/api/v1/namespaces/team/serviceaccounts/driver/token": {"status": {"token": "a.b.c"}},
        }[path]


ENV = [
    {"name": "PLAIN", "value": "x"},
    {"name": "YARD", "value": "/mnt/modelyard/yard"},
    {"name": "HOME", "value": "/tmp"},
    {"name": "MODELYARD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    {"name": "JOB", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['modelyard.dev/name']"}}},
    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
    {"name": "RAY_ADDRESS", "value": "127.0.0.1:6379"},
]
POD = {
    "metadata": {"name": "head", "namespace": "team", "labels": {"modelyard.dev/name": "tiny"}},
    "spec": {
        "serviceAccountName": "driver",
        "containers": [
            {
                "name": "ray-head",
                "workingDir": "/mnt/modelyard",
                "env": ENV,
                "envFrom": [{"configMapRef": {"name": "words"}}],
                "volumeMounts": [
                    {"name": "storage", "mountPath": "/mnt/modelyard", "subPath": "a"},
                    {"name": "manifest", "mountPath": "/etc/modelyard"},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ],
            }
        ],
        "volumes": [
            {"name": "storage", "persistentVolumeClaim": {"claimName": "team-yard"}},
            {"name": "manifest", "configMap": {"name": "snapshot"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "token", "secret": {"secretName": "nobody-reads-it"}},
        ],
    },
}


@pytest.fixture
def pod(tmp_path: Path) -> LocalPod:
    server = cast(ApiServer, FakeServer(tmp_path))
    return local_pod(POD, server, tmp_path / "scratch", {"team-yard": tmp_path / "claim"})


def test_paths_of_mounts_are_told_anew_and_others_are_not(pod: LocalPod, tmp_path: Path) -> None:
    text = "cd /mnt/modelyard && run -f /etc/modelyard/manifest.yaml --log /tmp/x /mnt/modelyard-other /a/etc/modelyard"
    scratch, claim = tmp_path / "scratch", tmp_path / "claim" / "a"
    manifest = scratch / "volumes" / "manifest" / "manifest.yaml"
    assert pod.told(text) == f"cd {claim} && run -f {manifest} --log /tmp/x /mnt/modelyard-other /a/etc/modelyard"
    assert manifest.read_text() == "kind: TrainingJob\n"
    assert pod.folder == claim
    assert claim.is_dir()


def test_variables_are_the_containers_own(pod: LocalPod, tmp_path: Path) -> None:
    wished = {
        "PLAIN": "x", "YARD": f"{tmp_path}/claim/a/yard", "HOME": f"{tmp_path}/scratch/volumes/tmp",
        "MODELYARD_NAMESPACE": "team", "JOB": "tiny", "TOKEN": "s3cret", "GREETING": "hello",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "6443",
    }  # fmt: skip
    assert wished.items() <= pod.environment.items()
    assert "RAY_ADDRESS" not in pod.environment
    assert "DS_ACCELERATOR" not in pod.environment  # this process has it, the container does not say it


def test_the_account_is_the_pods(pod: LocalPod, tmp_path: Path) -> None:
    folder = Path(pod.environment["MODELYARD_SERVICE_ACCOUNT_FOLDER"])
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "token": "a.b.c", "ca.crt": "authority", "namespace": "team",
    }  # fmt: skip


def test_without_an_account_there_is_no_token(tmp_path: Path) -> None:
    quiet = {**POD, "spec": {**cast(dict[str, Any], POD["spec"]), "automountServiceAccountToken": False}}
    server = cast(ApiServer, FakeServer(tmp_path))
    made = local_pod(quiet, server, tmp_path / "scratch", {"team-yard": tmp_path / "claim"})
    assert list(Path(made.environment["MODELYARD_SERVICE_ACCOUNT_FOLDER"]).iterdir()) == []


def test_a_claim_that_the_test_does_not_give_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        local_pod(POD, cast(ApiServer, FakeServer(tmp_path)), tmp_path / "scratch", {})


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    writer.close()


ASK = """
import sys, httpx
try:
    print(httpx.get(f"http://{sys.argv[1]}:8000/health", trust_env=False).text)
except httpx.HTTPError as error:
    print(type(error).__name__)
"""


def test_services_answer_under_their_names_in_a_process_with_the_clusters_dns(tmp_path: Path) -> None:
    (tmp_path / "asking.py").write_text(ASK)

    async def scenario() -> None:
        backend = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = backend.sockets[0].getsockname()[1]

        async def resolve(host: str) -> tuple[str, int] | None:
            return ("127.0.0.1", port) if host == "tiny.team.svc.cluster.local" else None

        def asked(address: str, name: str) -> str:
            command = [sys.executable, "-m", "support.kuberay.cluster_dns", address, "asking", name]
            done = subprocess.run(
                command, cwd=tmp_path, env=with_tests({"PYTHONPATH": str(tmp_path)}), capture_output=True, text=True,
                timeout=60, check=True,
            )  # fmt: skip
            return done.stdout.strip()

        async with backend, services(resolve) as address:
            assert await asyncio.to_thread(asked, address, "tiny.team.svc.cluster.local") == "hello"
            assert await asyncio.to_thread(asked, address, "none.team.svc.cluster.local") == "RemoteProtocolError"
            async with httpx.AsyncClient(trust_env=False) as client:
                with pytest.raises(httpx.HTTPError):
                    await client.get(f"http://{address}:{PORT}/health")

    asyncio.run(scenario())


def test_a_services_health_is_answered_as_somebody_says() -> None:
    well = Probe("", healthy=True, version="small@2")
    ill = Probe("", healthy=False, message="no such Service")

    async def ask(url: str) -> Probe:
        return well if url == f"http://small.team.svc:{PORT}/health" else ill

    async def case() -> list[Probe]:
        prober = Prober(httpx.AsyncClient(trust_env=False))
        async with answering(ask) as address, httpx.AsyncClient(trust_env=False) as client:
            for name in ("small", "other"):
                answer = await client.get(
                    f"http://{address}:{PORT}/health", headers={"Host": f"{name}.team.svc:{PORT}"}
                )
                told.append((answer.status_code, answer.headers.get("x-modelyard-version"), answer.text))
            found = [await prober.ask(f"http://{address}:{PORT}/health")]
        await prober.close()
        return found

    told: list[tuple[int, str | None, str]] = []
    (found,) = asyncio.run(case())
    assert told == [(200, "small@2", "healthy"), (503, None, "no such Service")]
    assert (found.healthy, found.message) == (False, "answered 503: no such Service")
