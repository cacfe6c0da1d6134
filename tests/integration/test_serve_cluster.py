"""The Serve config that the operator renders, deployed on a real local Ray Serve and asked by the openai client.

One start for the whole file; the tests share it and run in file order.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import openai
import pytest
import torch
import transformers

from modelyard.registry import open_registry
from modelyard.yard import open_yard
from modelyard_operator.plan.deployments.facts import fault_of
from support.deployment_worlds import World, deployment
from support.gateways import wait_until
from support.tiny_models import write_tiny_model
from support.workplaces import left_over

TESTS = Path(__file__).parents[1]
ZERO = "sha256:" + "0" * 64


@dataclass
class Node:
    """A Ray Serve that takes configs; `world` is the operator's side, whose index knows the yard's versions."""

    root: Path
    process: subprocess.Popen[str]
    port: int
    world: World

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)

    def config(self) -> dict[str, Any]:
        """The RayService's serveConfigV2 as the plan has it now."""
        self.world.settle()
        rendered: dict[str, Any] = json.loads(self.world.service["spec"]["serveConfigV2"])
        return rendered

    def deploy(self, config: dict[str, Any]) -> dict[str, Any]:
        """Send a config; the application's status when it has come to rest."""
        stdin, stdout = (cast_pipe(pipe) for pipe in (self.process.stdin, self.process.stdout))
        stdin.write(json.dumps(config) + "\n")
        stdin.flush()
        line = next((line for line in stdout if line.startswith("{")), "")  # Ray may have words of its own there
        assert line, (self.root / "node.log").read_text()
        status: dict[str, Any] = json.loads(line)["modelyard"]
        return status


def cast_pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:  # short: Ray's sockets lie below it
        root = Path(folder)
        digests = [register(root, seed) for seed in (0, 1)]
        world = World(deployment(engine={"maxSequences": 4}), aliases={"stable": 1}, digests=digests)
        port = free_port()
        process = start(root, port)
        try:
            yield Node(root, process, port, world)
        finally:
            cast_pipe(process.stdin).close()
            process.wait(90)


def free_port() -> int:
    """Below those that the kernel gives to Ray's own processes, which start before the proxy listens."""
    for step in range(12_000):
        port = 18_000 + (os.getpid() * 7 + step) % 12_000
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def register(root: Path, seed: int) -> str:
    """One more version of the model `small`; returns its digest."""
    registry = open_registry(open_yard(root / "yard"))
    made = write_tiny_model(root / f"made-{seed}", seed=seed)
    record = registry.register(
        "small", made, run_id=f"small-{seed:08}", spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="test",
    )  # fmt: skip
    return record.digest


def start(root: Path, port: int) -> subprocess.Popen[str]:
    """The variables are those of the pods."""
    places = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))
    variables = {
        **os.environ,
        "MODELYARD_YARD": str(root / "yard"),
        "MODELYARD_SERVES": "small@1",
        "PYTHONPATH": places,
    }
    with (root / "node.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "support.serve_node", str(root / "r"), str(port)], cwd=root, env=variables,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip


def test_the_rendered_config_comes_up_and_answers_the_official_client(node: Node) -> None:
    status = node.deploy(node.config())
    assert status["status"] == "RUNNING", status
    health = httpx.get(f"{node.url}/health")
    assert (health.status_code, health.headers["x-modelyard-version"]) == (200, "small@1")
    assert [model.id for model in node.client.models.list()] == ["small"]
    answer = node.client.completions.create(model="small", prompt="The loop", max_tokens=8, temperature=0)
    assert (answer.system_fingerprint, answer.choices[0].text) == ("small@1", alone(node, 1, "The loop", 8))


def alone(node: Node, version: int, prompt: str, tokens: int) -> str:
    """What transformers alone says."""
    folder = node.root / "yard" / "models" / "small" / str(version)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
    made: Any = model.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return str(tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True))


def test_streams_pass_serves_proxy_token_by_token(node: Node) -> None:
    def streamed(prompt: str) -> list[str]:
        chunks = node.client.completions.create(model="small", prompt=prompt, max_tokens=16, temperature=0, stream=True)
        return [chunk.choices[0].text for chunk in chunks]

    prompts = ["The loop is", "def decide(", "Return the", "Café"]
    with ThreadPoolExecutor(len(prompts)) as pool:
        parts = list(pool.map(streamed, prompts))
    assert ["".join(part) for part in parts] == [alone(node, 1, prompt, 16) for prompt in prompts]
    assert all(len(part) > 3 for part in parts)


def test_a_client_that_hangs_up_frees_its_place(node: Node) -> None:
    """The batch holds 4 and 16 may wait: without that, the 21st hung-up stream would be refused with 429."""
    body = {"model": "small", "prompt": "a", "max_tokens": 120, "stream": True, "ignore_eos": True, "n": 4}
    for _ in range(8):
        with httpx.stream("POST", f"{node.url}/v1/completions", json=body, timeout=60) as answer:
            assert answer.status_code == 200
            next(answer.iter_lines())

    def running() -> float:
        text = httpx.get(f"{node.url}/metrics").text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:num_requests_"))

    assert wait_until(lambda: running() == 0, seconds=20)


def test_errors_are_openais_and_name_the_version(node: Node) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        node.client.completions.create(model="other", prompt="a")
    assert refused.value.response.headers["x-modelyard-version"] == "small@1"


def test_more_replicas_come_in_place(node: Node) -> None:
    """`kubectl scale`: the config differs in the number alone, and requests go on meanwhile."""
    before = node.config()
    node.world.spec(replicas=2)
    after = node.config()
    assert without_scale(after) == without_scale(before)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(lambda: [httpx.get(f"{node.url}/health", timeout=60).status_code for _ in range(40)])
        assert node.deploy(after)["status"] == "RUNNING"
        assert set(asking.result()) == {200}


def without_scale(config: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(config))
    del copy["applications"][0]["deployments"][0]["num_replicas"]
    return copy


def test_the_config_of_another_version_changes_nothing_in_this_cluster(node: Node) -> None:
    """What KubeRay may do when version and config change together: the pods here were made for small@1."""
    node.world.index(2, stable=2)
    status = node.deploy(node.config())
    assert status["status"] == "DEPLOY_FAILED"
    assert fault_of(status) == "the pods of this cluster serve small@1; small@2 gets a cluster of its own"
    assert httpx.get(f"{node.url}/health").headers["x-modelyard-version"] == "small@1"


def test_a_version_whose_bytes_are_not_those_that_were_pinned_does_not_come_up(node: Node) -> None:
    node.world.index(2, stable=1)
    config = node.config()
    config["applications"][0]["args"]["digest"] = ZERO
    status = node.deploy(config)
    assert status["status"] == "DEPLOY_FAILED", status
    standing = node.config()["applications"][0]["args"]["digest"]
    assert fault_of(status) == f"small@1 has the digest {standing}, the deployment pins {ZERO}"


def test_nothing_is_left(node: Node) -> None:
    cast_pipe(node.process.stdin).close()
    assert node.process.wait(90) == 0, (node.root / "node.log").read_text()
    assert wait_until(lambda: not left_over(node.root), seconds=30), left_over(node.root)
