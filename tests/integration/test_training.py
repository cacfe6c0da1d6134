"""Training on Ray: one start of Ray for all. What needs no Ray is in test_layouts.py."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.errors import NonFiniteLossError, WorkerLostError
from modelyard.telemetry import read_rows
from modelyard.train import TrainOutcome, TrainTask, WorkerFailure
from modelyard.train.worker import training_job
from support.training_jobs import TinyYard, digest, losses, make_yard, train_through


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyYard]:
    from modelyard.train import on_ray

    made = make_yard(tmp_path_factory.mktemp("ray"))
    on_ray.start_ray(made.job().spec.workers, log_dir=made.root)
    yield made
    on_ray.stop_ray()


def test_a_worker_killed_in_the_middle_costs_a_restart_and_changes_nothing(tiny: TinyYard) -> None:
    long = ("optimization.steps=200", "checkpoint.everySteps=50")
    whole, broken = tiny.task("whole", *long), tiny.task("broken", *long)
    train_through(whole, 2)
    told: list[WorkerFailure] = []
    killer = threading.Thread(target=_kill_rank, args=(broken, 1, 60), daemon=True)
    killer.start()
    outcome = _launch(broken, told)
    killer.join(timeout=60)
    assert outcome.step == 200
    assert [failure.failure_class for failure in told] == ["WorkerLost"]
    assert told[0].rank == 1
    assert digest(broken) == digest(whole)
    assert losses(broken) == losses(whole)
    starts = [e for e in read_rows(Path(broken.run_folder) / "events.jsonl") if e["event"] == "TrainingStarted"]
    assert len(starts) == 2
    assert starts[1]["step"] > 50, "the second start goes on from the last commit"
    assert {"group", "imports", "engine", "restore", "first_step"} <= starts[0]["startSeconds"].keys()
    assert (Path(outcome.export) / "model.safetensors").is_file()


def test_a_loss_that_is_not_finite_is_not_tried_again(tiny: TinyYard) -> None:
    config = "hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 3, rms_norm_eps: -1.0"
    told: list[WorkerFailure] = []
    with pytest.raises(NonFiniteLossError, match="documents") as raised:
        _launch(tiny.task("wild", f"model.config={{{config}}}"), told)
    assert len(told) == 1
    assert raised.value.step == 1


def test_failures_in_a_row_without_a_commit_end_the_run_and_name_the_first_cause(tiny: TinyYard) -> None:
    task = tiny.task("unlucky", "optimization.steps=5000", "checkpoint.everySteps=4999", "faultTolerance.maxRestarts=0")
    killer = threading.Thread(target=_kill_rank, args=(task, 0, 3), daemon=True)
    killer.start()
    with pytest.raises(WorkerLostError, match="rank 0"):
        _launch(task, [])
    killer.join(timeout=60)


def _launch(task: TrainTask, told: list[WorkerFailure]) -> TrainOutcome:
    from modelyard.train import on_ray

    return on_ray.launch(task, workers=training_job(task).spec.workers, on_failure=told.append)


def _kill_rank(task: TrainTask, rank: int, step: int) -> None:
    """Kill the process of a rank once the run's metrics have reached `step`."""
    metrics = Path(task.run_folder) / "train" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if metrics.exists() and any(
            row["step"] >= step for row in map(json.loads, metrics.read_text().splitlines()[-1:])
        ):
            break
        time.sleep(0.01)
    log = Path(task.run_folder) / "train" / "logs" / f"rank-{rank}.pid"
    os.kill(int(log.read_text()), signal.SIGKILL)
