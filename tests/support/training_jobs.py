"""Tiny training runs: a dataset of made-up words, tasks on it, and worker processes without Ray.

The workers are forked from a server that has imported torch, DeepSpeed and the model's code once, so that a run on
some layout costs about a second.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard import checkpoint, data, spec, yard
from modelyard.telemetry import read_metrics
from modelyard.train import Place, TrainOutcome, TrainTask
from modelyard.train.failures import FailureNote, take_notes

MANIFEST = """
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: tiny}
spec:
  objective: causal-lm
  model:
    architecture: llama
    config:
      {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 3, tie_word_embeddings: true}
    tokenizer: {train: {vocabSize: 320}}
  data:
    train: [{name: words, path: train.jsonl}]
    validation: {sources: [{name: words, path: validation.jsonl}]}
    sequenceLength: 32
  optimization: {steps: 30, globalBatchTokens: 256, optimizer: {learningRate: 0.003}, schedule: {warmupSteps: 4}}
  sharding: {zeroStage: 2}
  workers: {count: 2}
  checkpoint: {everySteps: 10, keep: {last: 9}}
  faultTolerance: {hangTimeoutSeconds: 60}
  register: {name: tiny}
"""
PRELOAD = [
    "modelyard.train.trainer",
    "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.auto.modeling_auto",
]


@dataclass(frozen=True)
class TinyYard:
    """A root folder with words to train on, and a yard in it."""

    root: Path
    yard: yard.Yard

    def task(self, run_id: str, *overrides: str, micro_rows: int | None = None, manifest: str = MANIFEST) -> TrainTask:
        """A task of a run, claimed by a new driver attempt; the same run id goes on where it stood."""
        job = self.job(*overrides, manifest=manifest)
        record = data.prepare(job, root=self.root, yard=self.yard, tokenizer_folder=None, progress=lambda *_: None)
        run = self.yard.run(run_id)
        run.path.mkdir(parents=True, exist_ok=True)
        with yard.take_over(run) as lease:
            attempt = lease.attempt
        return TrainTask(
            run_folder=str(run.path),
            yard_root=str(self.yard.root),
            root=str(self.root),
            manifest=spec.to_yaml(job, defaults=True),
            dataset_folder=str(self.yard.dataset_folder(record.digest)),
            driver_attempt=attempt,
            micro_rows=micro_rows,
        )

    @staticmethod
    def job(*overrides: str, manifest: str = MANIFEST) -> spec.TrainingJob:
        """The manifest with overrides (`sharding.zeroStage=3`, without `spec.`)."""
        (job,) = spec.parse(manifest, origin="tiny.yaml", overrides=[f"spec.{text}" for text in overrides])
        assert isinstance(job, spec.TrainingJob)
        return job


def make_yard(root: Path, *, documents: int = 120, seed: int = 5) -> TinyYard:
    """Write `documents` documents of 3 to 60 words, and a few for validation."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("aeioubcdlmnrst", k=chance.randint(2, 7))) for _ in range(200)]

    def write(name: str, number: int) -> None:
        texts = [" ".join(chance.choices(words, k=chance.randint(3, 60))) for _ in range(number)]
        (root / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")

    root.mkdir(parents=True, exist_ok=True)
    write("train.jsonl", documents)
    write("validation.jsonl", 8)
    return TinyYard(root, yard.open_yard(root / "yard"))


@dataclass(frozen=True)
class Fate:
    """What a worker process does besides training: leave a ledger of rows, die when it is handed the rows of a step."""

    ledger: str = ""
    die_at_step: int = 0
    die_rank: int = 0
    stop_at_step: int = 0
    hang_at_step: int = 0


def train_on(
    task: TrainTask, world: int, fate: Fate | None = None, *, timeout: float = 120.0
) -> list[TrainOutcome | FailureNote | None]:
    """Run `world` worker processes to their end; by rank what they returned, the note they left, or None (killed)."""
    with free_port() as port:
        places = [Place(rank=rank, world=world, local_rank=rank, master_port=port) for rank in range(world)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    processes, readers = [], []
    for place in places:
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(task, place, fate or Fate(), writer), daemon=True)
        process.start()
        writer.close()
        processes.append(process)
        readers.append(reader)
    results: list[TrainOutcome | FailureNote | None] = []
    for process, reader in zip(processes, readers, strict=True):
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"a worker of {task.run_folder} did not end within {timeout} s")
        try:
            results.append(reader.recv())
        except EOFError:
            results.append(None)
    notes = {note.rank: note for note in take_notes(Path(task.run_folder) / "train" / "failures", since=0.0)}
    return [result or notes.get(rank) for rank, result in enumerate(results)]


def train_through(task: TrainTask, world: int, fate: Fate | None = None) -> TrainOutcome:
    """The same for a run that must succeed: rank 0's outcome."""
    results = train_on(task, world, fate)
    assert all(isinstance(result, TrainOutcome) for result in results), results
    assert isinstance(results[0], TrainOutcome)
    return results[0]


def losses(task: TrainTask) -> dict[int, float]:
    """The curve so far, by step."""
    return {row["step"]: row["loss"] for row in read_metrics(Path(task.run_folder) / "train" / "metrics.jsonl")}


def digest(task: TrainTask, *, optimizer: bool = True) -> str:
    """Of the weights and optimizer states of the newest commit."""
    path = Path(task.run_folder)
    commit = checkpoint.latest(yard.RunFolder(path.name, path)).commit
    assert commit is not None
    return checkpoint.state_digest(commit, optimizer=optimizer)


def row_hashes(rows: data.Rows) -> list[str]:
    """One hash per row handed to the model: of its inputs, labels and positions."""
    arrays = (rows.input_ids, rows.labels, rows.position_ids)
    return [
        hashlib.sha256(b"".join(np.ascontiguousarray(array[i]).tobytes() for array in arrays)).hexdigest()[:16]
        for i in range(len(rows.labels))
    ]


@contextmanager
def free_port() -> Iterator[int]:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def _rank(task: TrainTask, place: Place, fate: Fate, writer: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    from modelyard.train.worker import run_worker

    def seen(step: int, rows: Any) -> None:
        if fate.die_at_step == step and fate.die_rank == place.rank:
            os.kill(os.getpid(), signal.SIGKILL)
        if fate.stop_at_step == step:
            (Path(task.run_folder) / "control.json").write_text(
                json.dumps({"stop": True, "attempt": task.driver_attempt})
            )
        if fate.hang_at_step == step and fate.die_rank == place.rank:
            time.sleep(600)
        if fate.ledger:
            with open(f"{fate.ledger}.{place.rank}", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "rows": row_hashes(rows)}) + "\n")

    writer.send(run_worker(task, place, seen=seen))


def read_ledger(paths: Sequence[Path]) -> list[tuple[int, int, str]]:
    """(step, rank file, row hash) in the order of writing."""
    rows = []
    for number, path in enumerate(paths):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            rows += [(entry["step"], number, text) for text in entry["rows"]]
    return rows
