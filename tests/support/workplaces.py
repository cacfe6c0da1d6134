"""A folder in which a user works: words, a manifest, a yard, and the `modelyard` command."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from modelyard.records import StatusDocument
from modelyard.yard import RunFolder, Yard, open_yard, read_record

JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: tiny}
spec:
  objective: causal-lm
  model:
    architecture: llama
    config: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}
    tokenizer: {train: {algorithm: bpe, vocabSize: 320}}
  data:
    train: [{name: words, path: words/train.jsonl, format: jsonl}]
    validation: {sources: [{name: words, path: words/validation.jsonl, format: jsonl}]}
    sequenceLength: 64
  optimization: {steps: 120, globalBatchTokens: 512, optimizer: {learningRate: 0.003}, schedule: {warmupSteps: 10}}
  sharding: {zeroStage: 2}
  workers: {count: 2, resources: {cpu: "1", memory: 1Gi}}
  checkpoint: {everySteps: 20, keep: {last: 2}}
  evaluation:
    everySteps: 60
    suites: [{name: heldout, task: perplexity}]
    gates: [{metric: heldout/bits_per_byte, atMost: 8.0}]
  register: {name: tiny, aliases: [candidate]}
"""
START_SECONDS = 180.0


@dataclass(frozen=True)
class Workplace:
    """`root` is the storage root; every command runs there as a process of its own."""

    root: Path

    @property
    def yard(self) -> Yard:
        return open_yard(self.root / "yard", create=False)

    def folder(self, name: str = "tiny") -> RunFolder:
        """The latest run of a job."""
        return self.yard.find_run(name)

    def status(self, name: str = "tiny") -> StatusDocument:
        """The status document as it lies there."""
        return read_record(self.folder(name).status, StatusDocument)

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `modelyard …` to its end."""
        return subprocess.run(
            _command(arguments), cwd=self.root, env={**os.environ, **(env or {})}, capture_output=True, text=True,
            check=False, timeout=280,
        )  # fmt: skip

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `modelyard …`; its output is kept in the pipe."""
        return subprocess.Popen(
            _command(arguments), cwd=self.root, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def start_frozen_in_save(
        self, *arguments: str, env: Mapping[str, str] | None = None, save: int = 1
    ) -> tuple[subprocess.Popen[str], Callable[[], None]]:
        """Start `modelyard …`, and wait until a worker stands still in its n-th save; so the run cannot end.

        Returns the driver's process and what lets the worker go on.
        """
        marker = self.root / f"frozen-{time.monotonic_ns()}"
        fault = {"MODELYARD_FAULT_POINT": f"checkpoint.save.begin:{save}:stop:{marker}"}
        process = self.start(*arguments, env={**(env or {}), **fault})
        frozen: list[psutil.Process] = []

        def stands() -> bool:
            frozen[:] = stopped_below(process.pid) if marker.exists() else []
            return bool(frozen)

        wait_until(stands, process)
        return process, frozen[0].resume

    def rows(self, name: str = "tiny") -> list[dict[str, Any]]:
        """Rows of metrics.jsonl, a torn last line left out."""
        runs = list((self.root / "yard" / "runs").glob(f"{name}-*"))
        path = runs[0] / "train" / "metrics.jsonl" if runs else self.root / "none"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


def make_workplace(root: Path) -> Workplace:
    """Words to train and validate on (the same on every machine) and job.yaml."""
    words = root / "words"
    words.mkdir(parents=True)
    for name, seed, count in (("train", 7, 300), ("validation", 8, 40)):
        lines = (json.dumps({"text": text}) + "\n" for text in texts(seed, count))
        (words / f"{name}.jsonl").write_text("".join(lines))
    (root / "job.yaml").write_text(JOB)
    return Workplace(root)


def texts(seed: int, count: int) -> list[str]:
    """Made-up sentences."""
    chance = random.Random(seed)
    words = ["the", "a", "model", "reads", "writes", "small", "large", "text", "and", "then", "stops", "goes", "on"]
    return [" ".join(chance.choices(words, k=chance.randint(15, 60))) for _ in range(count)]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Poll a condition while the process lives; fails with its output when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"it did not come to it:\n{process.communicate()[0]}")
        time.sleep(0.02)


def stopped_below(pid: int) -> list[psutil.Process]:
    """Processes of a tree that were stopped (SIGSTOP)."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                found.append(process)
    return found


def left_over(root: Path) -> list[str]:
    """Command lines of living processes that work in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(root)):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "modelyard", *arguments]
