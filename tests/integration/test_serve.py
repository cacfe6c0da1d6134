"""`modelyard serve` as a user runs it: a registered version, two replicas on Ray Serve, one start for the whole file.

The tests share the server and run in file order; the last one stops it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import Any

import httpx
import openai
import psutil
import pytest
import torch
import transformers

from modelyard.registry import open_registry
from modelyard.yard import open_yard
from support.gateways import wait_until
from support.tiny_models import write_tiny_model
from support.workplaces import Workplace, left_over

PROMPTS = ["The loop is", "def decide(", "日本語", "Return the"] * 2
MANIFEST = """\
apiVersion: modelyard.dev/v1alpha1
kind: ModelDeployment
metadata: {name: tiny}
spec:
  model: registry://tiny@candidate
  replicas: 2
  api: {port: 0}
"""


@dataclass(frozen=True)
class Server:
    process: Popen[str]
    place: Workplace
    url: str

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("serve")
    digest = "sha256:" + "0" * 64
    yard = open_yard(root / "yard")
    registry = open_registry(yard)
    record = registry.register(
        "tiny", write_tiny_model(root / "made"), run_id="tiny-00000000", spec_digest=digest, training_digest=digest,
        dataset_digest=digest, code_version="test",
    )  # fmt: skip
    registry.set_alias("tiny", "candidate", record.version, by="test", reason="a test serves it")
    (root / "deployment.yaml").write_text(MANIFEST)
    return Workplace(root)


@pytest.fixture(scope="module")
def server(place: Workplace) -> Iterator[Server]:
    log = (place.root / "serve.log").open("w")
    command = [sys.executable, "-m", "modelyard", "serve", "-f", "deployment.yaml", "-o", "json"]
    process = Popen(command, cwd=place.root, stdout=PIPE, stderr=log, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (place.root / "serve.log").read_text()
        ready = json.loads(line)
        assert (ready["event"], ready["model"], ready["version"]) == ("ready", "tiny", "tiny@1")
        yield Server(process, place, ready["url"])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(90)
        log.close()


def replicas(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "ServeReplica" in command_line(child)]


def command_line(process: psutil.Process) -> str:
    """Empty for a process that has gone since it was listed."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_the_official_client_is_answered_by_the_version(server: Server) -> None:
    answer = server.client.completions.create(model="tiny@1", prompt="The loop", max_tokens=8, temperature=0)
    assert answer.system_fingerprint == "tiny@1"
    assert server.url.startswith("http://127.0.0.1:")


def test_nothing_of_ours_listens_beyond_loopback(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    connections = [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    assert {connection.laddr.ip for connection in connections} == {"127.0.0.1"}


def test_streams_that_come_together_equal_transformers_alone(server: Server) -> None:
    folder = server.place.yard.model_folder("tiny", 1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)

    def alone(prompt: str) -> str:
        ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        made: Any = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False, pad_token_id=0)
        return str(tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True))

    def served(prompt: str) -> str:
        chunks = server.client.completions.create(
            model="tiny", prompt=prompt, max_tokens=16, temperature=0, stream=True
        )
        return "".join(chunk.choices[0].text for chunk in chunks)

    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        assert list(pool.map(served, PROMPTS)) == [alone(prompt) for prompt in PROMPTS]


def test_metrics_of_any_replica_tell_the_whole(server: Server) -> None:
    """Every connection may reach another replica; the counters add up over both and never run back."""

    def generated() -> float:
        text = httpx.get(f"{server.url}/metrics").text
        line = next(line for line in text.splitlines() if line.startswith("vllm:generation_tokens_total"))
        return float(line.split()[-1])

    before = generated()
    for _ in range(12):
        body = {"model": "tiny", "prompt": "a", "max_tokens": 5, "ignore_eos": True}
        httpx.post(f"{server.url}/v1/completions", json=body).raise_for_status()
    assert {generated() for _ in range(12)} == {before + 60}
    assert "ray_" not in httpx.get(f"{server.url}/metrics").text


def test_a_replica_that_dies_is_replaced_and_the_port_stays_open(server: Server) -> None:
    alive = replicas(server)
    assert len(alive) == 2
    alive[0].kill()
    port = int(server.url.rsplit(":", 1)[1])
    socket.create_connection(("127.0.0.1", port), 5).close()
    assert wait_until(lambda: len({p.pid for p in replicas(server)} - {alive[0].pid}) == 2, seconds=60)
    for _ in range(8):  # the other replica answers while the new one loads
        assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200


def test_a_port_in_use_is_told_before_anything_starts(server: Server) -> None:
    port = server.url.rsplit(":", 1)[1]
    second = server.place.command("serve", "-f", "deployment.yaml", "--set", f"spec.api.port={port}")
    assert second.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in second.stderr
    assert "starting Ray" not in second.stdout


def test_a_flipped_bit_is_named_and_refused(place: Workplace) -> None:
    weights = place.yard.model_folder("tiny", 1) / "model.safetensors"
    standing = weights.read_bytes()
    copy = place.root / "damaged"
    shutil.copytree(place.root / "yard", copy / "yard")
    damaged = copy / "yard" / weights.relative_to(place.yard.root)
    damaged.chmod(0o644)
    damaged.write_bytes(standing[:-5] + bytes([standing[-5] ^ 1]) + standing[-4:])
    refused = place.command("serve", "-f", "deployment.yaml", "--yard", str(copy / "yard"))
    assert refused.returncode == 1
    assert "model.safetensors" in refused.stderr
    assert "starting Ray" not in refused.stdout


def test_ctrl_c_lets_streams_finish_and_leaves_nothing(server: Server) -> None:
    """The signal goes to the whole process group, as a terminal sends it."""
    body = {"model": "tiny", "prompt": "a", "max_tokens": 120, "n": 64, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        next(lines)
        os.killpg(server.process.pid, signal.SIGINT)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert server.process.wait(90) == 130
    assert wait_until(lambda: not left_over(server.place.root), seconds=30), left_over(server.place.root)
    words = (server.place.root / "serve.log").read_text()
    assert [line.split(" ")[0] for line in words.splitlines()] == ["starting", "loading", "stopping:", "stopped;"], (
        words
    )
