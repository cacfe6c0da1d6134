"""The Deployment's own command, with the chart's roles and a token of its account, against a real API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.accounts import operators_kubeconfig
from support.apiserver import Namespace
from support.charts import objects

READY_SECONDS = 60.0
STOP_SECONDS = 5.0  # the pod gets 15
JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: tiny}
spec:
  objective: causal-lm
  model: {architecture: llama, config: {hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2}}
  data: {train: [{name: words, path: words.txt}], validation: {fraction: 0.1}}
  optimization: {steps: 10}
  register: {name: tiny}
  storage: {claimName: not-there}
"""
CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: not-there}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
"""


@dataclass(frozen=True)
class Pod:
    """The operator as its pod would run it: process, container, and where it answers."""

    process: subprocess.Popen[bytes]
    container: dict[str, Any]
    url: str

    def asks(self, probe: str) -> int:
        """What the kubelet would be answered; 0: nobody answers."""
        path = self.container[probe]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(self.url + path, timeout=3) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        """What Prometheus would be told."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=3) as answer:
            text: str = answer.read().decode()
        return text


@pytest.fixture
def pod(namespace: Namespace, tmp_path: Path) -> Iterator[Pod]:
    """A release that watches the test's namespace, started."""
    release = objects({"watchNamespace": namespace.name}, namespace=namespace.name)
    (deployment,) = [item for item in release if item["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    config = operators_kubeconfig(namespace, tmp_path / "kubeconfig")
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [Path(sys.executable).parent / container["command"][0], *container["args"], "--metrics-port=0",
             f"--kubeconfig={config}"],
            env={**os.environ, "POD_NAMESPACE": namespace.name}, stderr=out, stdout=out,
        )  # fmt: skip
    try:
        port = until(lambda: port_in(log.read_text()), process)
        yield Pod(process, container, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def port_in(log: str) -> int | None:
    """The port that the operator's first lines name."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]
    return next((line["port"] for line in lines if line["message"] == "started"), None)


def until(reached: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    """What `reached` says once it is true; an AssertionError when it never is, or the process ends."""
    end = time.monotonic() + READY_SECONDS
    while not (found := reached()):
        assert process.poll() is None, "the operator ended"
        assert time.monotonic() < end, "never"
        time.sleep(0.1)
    return found


def test_it_gets_ready_works_with_these_roles_and_stops_in_time(pod: Pod, namespace: Namespace) -> None:
    until(lambda: pod.asks("readinessProbe") == 200, pod.process)
    assert pod.asks("livenessProbe") == pod.asks("startupProbe") == 200
    until(lambda: "modelyard_operator_leader 1.0" in pod.metrics(), pod.process)

    namespace.kubectl("apply", "-f", "-", text=JOB)
    until(lambda: "not-there" in accepted(namespace), pod.process)
    phase = (
        f'modelyard_operator_phase{{kind="TrainingJob",name="tiny",namespace="{namespace.name}",phase="Pending"}} 1.0'
    )
    until(lambda: phase in pod.metrics(), pod.process)
    namespace.kubectl("apply", "-f", "-", text=CLAIM)  # heals by itself
    made = "rayjob,role,rolebinding,serviceaccount,networkpolicy,configmap"
    selected = ("-l", "modelyard.dev/name=tiny", "-o", "name")
    until(lambda: "rayjob" in namespace.kubectl("get", made, *selected), pod.process)
    kinds = {name.split("/")[0].split(".")[0] for name in namespace.kubectl("get", made, *selected).splitlines()}
    assert kinds == set(made.split(","))
    refused = [line for line in pod.metrics().splitlines() if "api_calls_total" in line and 'code="403"' in line]
    assert refused == []

    began = time.monotonic()
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(STOP_SECONDS * 3) == 0
    assert time.monotonic() - began < STOP_SECONDS
    assert namespace.json("get", "lease", "modelyard-operator")["spec"].get("holderIdentity", "") == ""


def accepted(namespace: Namespace) -> str:
    """What the condition Accepted says."""
    path = '{.status.conditions[?(@.type=="Accepted")].message}'
    return namespace.kubectl("get", "tj", "tiny", "-o", f"jsonpath={path}")
