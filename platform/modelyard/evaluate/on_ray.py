"""Scoring in a Ray task with the job's resources: the driver may sit where there is no CPU to spare, nor a GPU."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import ray

from modelyard.errors import ModelyardError
from modelyard.evaluate.task import EvaluateTask, Report, run_task
from modelyard.records import EvaluationRecord
from modelyard.spec import WorkersSpec
from modelyard.spec.quantities import quantity
from modelyard.telemetry import worker_log

_POLL_SECONDS = 0.25


def launch(
    task: EvaluateTask,
    *,
    workers: WorkersSpec,
    scratch: Path,
    on_progress: Callable[[str, int, int], None],
    check: Callable[[], None] = lambda: None,
) -> EvaluationRecord:
    """Score with all CPUs of the worker group (one process, that many threads), or with one worker's GPU.

    On a cluster of several nodes it is those of one node: a process cannot sit on two.

    Ray must be up. `check` is called all the while, also before there is progress (no CPU is free, the model is read):
    it may raise to cancel. Progress and the process's own output go into `scratch`.
    """
    gpus = workers.resources.gpu
    cpus = max(1, int(quantity(workers.resources.cpu) * (1 if gpus else workers.count)))
    cpus = max(1, min(cpus, _largest_node()))
    scratch.mkdir(parents=True, exist_ok=True)
    progress_file = scratch / "progress.json"
    progress_file.unlink(missing_ok=True)
    remote = ray.remote(num_cpus=cpus, num_gpus=min(gpus, 1), max_retries=2)(_score)
    pending = remote.remote(task, cpus, bool(gpus), str(scratch))
    try:
        while not ray.wait([pending], timeout=_POLL_SECONDS)[0]:
            check()
            _pass_on(progress_file, on_progress)
        return EvaluationRecord.from_json(ray.get(pending), origin="evaluate")
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ModelyardError):
            raise error.cause from error
        raise
    except BaseException:
        ray.cancel(pending, force=True)
        raise


def _largest_node() -> int:
    """CPUs of the node that has most."""
    return max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)


def _score(task: EvaluateTask, threads: int, gpu: bool, scratch: str) -> bytes:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    import torch

    torch.set_num_threads(threads)
    path = Path(scratch) / "progress.json"

    def report(doing: str, done: int, total: int) -> None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps([doing, done, total]))
        os.replace(part, path)

    with worker_log(Path(scratch) / "evaluate.log"):
        return run_task(task, report, device="cuda" if gpu else "cpu").to_json()


def _pass_on(path: Path, on_progress: Report) -> None:
    with contextlib.suppress(FileNotFoundError):
        doing, done, total = json.loads(path.read_text())
        on_progress(doing, done, total)
