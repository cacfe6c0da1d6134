"""The operator as a process on a real API server: starts soon, says how it is, leads alone, stops in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx
import pytest

from modelyard_operator.cluster.rest import open_rest
from modelyard_operator.kinds.objects import CONFIG_MAPS, LEASES, ObjectKey
from modelyard_operator.runtime.election import LEASE_NAME, LEASE_SECONDS

if TYPE_CHECKING:
    from support.apiserver import Namespace

STAMPING = Path(__file__).parents[1] / "support" / "small_operator.py"
PATIENCE_SECONDS = 60.0  # on a busy machine
JOB = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "a"},
    "spec": {
        "objective": "causal-lm",
        "model": {"architecture": "llama", "tokenizer": {"train": {"algorithm": "bpe", "vocabSize": 512}}},
        "data": {"train": [{"name": "t", "path": "t.jsonl"}], "sequenceLength": 64},
        "optimization": {"steps": 10, "globalBatchTokens": 128},
        "register": {"name": "a"},
        "storage": {"claimName": "absent"},
    },
}


class Process:
    """A running operator. What it logs is in `lines`."""

    def __init__(self, command: list[str], log: IO[bytes]) -> None:
        self.log = Path(log.name)
        self.popen = subprocess.Popen(command, stderr=log, stdout=log)

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; it is JSON, line by line, with nothing else between."""
        text = self.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def logged(self, message: str) -> dict[str, Any]:
        """The first line with a message, once it is there."""
        return until(lambda: next((line for line in self.lines() if line["message"] == message), None))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.logged('started')['port']}"

    def answers(self, path: str, code: int = 200) -> str:
        """The body at a path, once its status is `code`."""

        last = "nothing"

        def asked() -> str | None:
            nonlocal last
            try:
                answer = httpx.get(self.url + path)
            except httpx.HTTPError as error:
                last = repr(error)
                return None
            last = f"{answer.status_code} {answer.text}"
            return answer.text if answer.status_code == code else None

        return until(asked, lambda: f"{path} answers {last}")

    def stop(self) -> float:
        """SIGTERM; how many seconds it took to end."""
        began = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(PATIENCE_SECONDS)
        return time.monotonic() - began


def until(asked: Callable[[], Any], instead: Callable[[], str] = lambda: "nothing") -> Any:
    """What it returns, once that is something."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := asked()):
        assert time.monotonic() < end, f"waited in vain: {instead()}"
        time.sleep(0.05)
    return found


@contextmanager
def started(folder: Path, *words: str, stamps_seconds: float | None = None) -> Iterator[Process]:
    """An operator with these words; killed at the end, if it still runs."""
    program = ["-m", "modelyard_operator"] if stamps_seconds is None else [str(STAMPING), str(stamps_seconds)]
    with (folder / f"operator-{len(list(folder.iterdir()))}.log").open("wb") as log:
        process = Process([sys.executable, *program, *words, "--metrics-port=0"], log)
        try:
            yield process
        finally:
            process.popen.kill()
            process.popen.wait()


def words_for(namespace: Namespace) -> list[str]:
    place = [f"--kubeconfig={namespace.server.kubeconfig}", f"--namespace={namespace.name}"]
    return [*place, "--leader-elect", f"--lease-namespace={namespace.name}"]


def holder(namespace: Namespace) -> str:
    found: str = namespace.json("get", "lease", LEASE_NAME)["spec"]["holderIdentity"]
    return found


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_starts_soon_tells_the_truth_and_stops_with_the_lease_given_back(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.kubectl("apply", "-f", "-", text=json.dumps(JOB))
    with started(tmp_path, *words_for(namespace)) as operator:
        assert json.loads(operator.answers("/readyz")) == {"ok": True, "faults": {}}
        assert cpu_seconds(operator.popen.pid) < 2  # of wall time on an idle machine, too
        assert json.loads(operator.answers("/healthz"))["ok"]
        operator.logged("leading")
        assert holder(namespace) == operator.logged("started")["identity"]
        until(lambda: 'api_calls_total{code="200",verb="patch"}' in operator.answers("/metrics"))
        metrics = operator.answers("/metrics")
        for series in (
            "modelyard_operator_leader 1.0",
            "modelyard_operator_queue_depth ",
            'modelyard_operator_reconcile_seconds_count{kind="TrainingJob"} ',
            'modelyard_operator_api_calls_total{code="200",verb="list"} ',
            'modelyard_operator_cached_objects{resource="trainingjobs.modelyard.dev"} 1.0',
        ):
            assert series in metrics
        told = [line for line in operator.lines() if line["logger"] == "modelyard_operator.runtime.controller"]
        assert told
        assert {line["object"] for line in told} == {f"trainingjobs.modelyard.dev/{namespace.name}/a"}
        conditions = namespace.json("get", "tj", "a")["status"]["conditions"]
        assert any(condition["type"] == "Accepted" for condition in conditions)
        assert operator.stop() < 5
        assert operator.popen.returncode == 0
        assert holder(namespace) == ""
        assert operator.lines()[-1]["message"] == "stopped"


def test_of_two_one_leads_and_frozen_beyond_its_lease_writes_nothing_when_it_wakes(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.kubectl("apply", "-f", "-", text=json.dumps(JOB))
    listed = namespace.server.request("GET", f"/api/v1/namespaces/{namespace.name}/configmaps")
    start = listed["metadata"]["resourceVersion"]
    words = words_for(namespace)
    with started(tmp_path, *words, stamps_seconds=0.2) as first:
        first.logged("leading")
        with started(tmp_path, *words, stamps_seconds=0.2) as second:
            second.answers("/readyz")
            until(lambda: count(namespace) > 3)
            first.popen.send_signal(signal.SIGSTOP)
            frozen_at = time.monotonic()
            second.logged("leading")
            assert time.monotonic() - frozen_at > LEASE_SECONDS - 5  # it had renewed less than that before
            taken_at = count(namespace)
            until(lambda: count(namespace) > taken_at + 3)
            first.popen.send_signal(signal.SIGCONT)
            assert first.popen.wait(PATIENCE_SECONDS) == 1
            assert "leads no more" in first.lines()[-1]["message"]
            woken_at = count(namespace)
            until(lambda: count(namespace) > woken_at + 3)
            assert second.stop() < 5
            assert second.popen.returncode == 0
    assert holder(namespace) == ""
    writers = stamps(namespace, start)
    assert set(writers) == {str(first.popen.pid), str(second.popen.pid)}
    change = writers.index(str(second.popen.pid))
    assert set(writers[:change]) == {str(first.popen.pid)}
    assert set(writers[change:]) == {str(second.popen.pid)}


def count(namespace: Namespace) -> int:
    """How often the ConfigMap was stamped."""
    found = namespace.run_kubectl("get", "configmap", "a-stamp", "-o", "jsonpath={.data.count}")
    return int(found.stdout or 0)


def stamps(namespace: Namespace, start: str) -> list[str]:
    """Who wrote each version of the ConfigMap, as the server's own history tells."""

    async def watched() -> list[str]:
        end = namespace.json("get", "configmap", "a-stamp")["metadata"]["resourceVersion"]
        found = []
        async with open_rest(namespace.server.kubeconfig) as cluster:
            async for event in cluster.watch(
                CONFIG_MAPS, namespace=namespace.name, resource_version=start, timeout_seconds=30
            ):
                if event.item["metadata"].get("name") == "a-stamp":
                    found.append(event.item["data"]["by"])
                    if event.item["metadata"]["resourceVersion"] == end:
                        break
        return found

    return asyncio.run(watched())


def test_without_a_server_it_lives_is_not_ready_and_stops(tmp_path: Path) -> None:
    user = {"name": "t", "user": {"token": "t"}}
    cluster = {"name": "t", "cluster": {"server": "http://127.0.0.1:9"}}  # discard: nobody listens
    context = {"name": "t", "context": {"cluster": "t", "user": "t"}}
    config = {"current-context": "t", "contexts": [context], "users": [user], "clusters": [cluster]}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    with started(tmp_path, f"--kubeconfig={tmp_path / 'kubeconfig'}", "--leader-elect") as operator:
        assert json.loads(operator.answers("/healthz"))["ok"]
        faults = json.loads(operator.answers("/readyz", 503))["faults"]
        assert faults["trainingjobs.modelyard.dev"] == "not read yet"
        assert any("Connect" in line["message"] for line in until(lambda: operator.lines()[1:]))
        assert operator.stop() < 5
        assert operator.popen.returncode == 0


@pytest.mark.parametrize("text", [None, "", "a: [", "{}"])
def test_without_credentials_it_says_so_and_ends(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "kubeconfig").write_text(text)
    with started(tmp_path, f"--kubeconfig={tmp_path / 'kubeconfig'}") as operator:
        assert operator.popen.wait(PATIENCE_SECONDS) == 2
        assert operator.lines()[-1]["message"].startswith("no way to a cluster: ")


def test_the_lease_is_where_it_is_told(namespace: Namespace) -> None:
    """The key that the chart's Role names."""
    assert ObjectKey(LEASES, namespace.name, LEASE_NAME).name == "modelyard-operator"
