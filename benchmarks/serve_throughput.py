"""Served throughput over HTTP: 8 concurrent streams beside one alone, through `modelyard serve` as a user runs it.

One server, a random model of the quickstart's size; every round asks one stream and then eight, so that a noisy
machine meets both alike. The claim: eight together make at least three times the tokens per second of one.

    python benchmarks/serve_throughput.py            # starts Ray once, about a minute
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
MANIFEST = """\
apiVersion: modelyard.dev/v1alpha1
kind: ModelDeployment
metadata: {name: bench}
spec: {model: ./model, api: {port: 0}}
"""
CLIENT = httpx.Client(timeout=120)  # one for all: making one costs 20 ms of TLS certificates


@dataclass(frozen=True)
class Stream:
    """One answer as its client saw it; seconds."""

    first_token: float
    whole: float
    num_chunks: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as scratch:
        root = Path(scratch)
        _write_model(root / "model")
        (root / "deployment.yaml").write_text(MANIFEST)
        server = subprocess.Popen(
            [sys.executable, "-m", "modelyard", "serve", "-f", "deployment.yaml", "-o", "json"],
            cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        try:
            began = time.monotonic()
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            ready = time.monotonic() - began
            first = _ask(url, given.tokens).first_token
            print(f"`modelyard serve` to ready: {ready:.1f} s; the first token {1e3 * first:.0f} ms later", flush=True)
            _measure(url, given.rounds, given.tokens)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def _measure(url: str, rounds: int, tokens: int) -> None:
    rates: dict[int, list[float]] = {1: [], 8: []}
    streams: dict[int, list[Stream]] = {1: [], 8: []}
    with ThreadPoolExecutor(8) as pool:
        for turn in range(rounds + 1):
            for width, kept in rates.items():
                began = time.perf_counter()
                answers = list(pool.map(lambda _: _ask(url, tokens), range(width)))
                seconds = time.perf_counter() - began
                if turn:  # the first round warms up
                    kept.append(width * tokens / seconds)
                    streams[width] += answers
    print("| streams | tokens/s, median | spread | first token p50 ms | between tokens p50 ms |")
    print("| --- | --- | --- | --- | --- |")
    for width, kept in rates.items():
        between = [(one.whole - one.first_token) / (tokens - 1) for one in streams[width]]
        print(
            f"| {width} | {statistics.median(kept):.0f} | {min(kept):.0f} to {max(kept):.0f} | "
            f"{1e3 * statistics.median(one.first_token for one in streams[width]):.1f} | "
            f"{1e3 * statistics.median(between):.2f} |"
        )
    ratio = statistics.median(rates[8]) / statistics.median(rates[1])
    print(f"\neight over one: {ratio:.2f} (claim: at least 3); load {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs")


def _ask(url: str, tokens: int) -> Stream:
    body = {"model": "bench", "prompt": "Return the", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    began = time.perf_counter()
    first, chunks = 0.0, 0
    with CLIENT.stream("POST", f"{url}/v1/completions", json=body) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                first = first or time.perf_counter() - began
                chunks += 1
    return Stream(first, time.perf_counter() - began, chunks)


def _write_model(folder: Path) -> None:
    from support.tiny_models import write_tiny_model

    # 2.9 M parameters; the vocabulary stays the tokenizer's own, so that every token is text to be streamed.
    write_tiny_model(
        folder, context=256, hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=6, head_dim=32, tie_word_embeddings=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
