"""What each rank executes: its log, its watchdog, the trainer, and a note for the driver when it fails.

No Ray here: `on_ray.py` calls `run_worker` in every worker, tests call it in plain processes.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

from modelyard import spec, yard
from modelyard.errors import HangError, InvalidInputError
from modelyard.telemetry import worker_log
from modelyard.train import failures
from modelyard.train.startup import StartClock
from modelyard.train.task import Place, TrainOutcome, TrainTask
from modelyard.train.watch import Watchdog

RowsSeen = Callable[[int, object], None]


def run_worker(
    task: TrainTask, place: Place, *, seen: RowsSeen | None = None, log: bool = True, began: float | None = None
) -> TrainOutcome:
    """Train a run, as rank `place.rank`, from its last commit to its end; every rank calls and returns the same.

    `seen(step, rows)` is told the rows handed to the model (a hook for tests). `began` is when the group's start
    began (seconds since the epoch). A failure is noted for the driver, then raised.
    """
    run = run_folder(task)
    job = training_job(task)
    clock = StartClock(began or time.time())
    clock.lap("group")
    log_path = run.logs / f"rank-{place.rank}.log"
    timeout = float(job.spec.fault_tolerance.hang_timeout_seconds)

    def hung(step: int, phase: str) -> None:
        error = HangError(f"rank {place.rank} stood in {phase!r} of step {step} for {timeout:.0f} s")
        note = failures.note_of(error, rank=place.rank, step=step, now=time.time())
        evidence = (f"stacks of all threads: {log_path}",)
        failures.write_note(notes_folder(run), dataclasses.replace(note, evidence=evidence))

    with ExitStack() as stack:
        stack.enter_context(worker_log(log_path) if log else nullcontext())
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.with_suffix(".pid").write_text(str(os.getpid()), encoding="utf-8")
        watchdog = stack.enter_context(Watchdog(log_path, timeout_seconds=timeout, told=hung))
        try:
            from modelyard.train.trainer import Trainer  # torch, DeepSpeed: their words belong in the log

            with Trainer(task, job, run, place, phase=watchdog.phase, seen=seen or _unseen, clock=clock) as trainer:
                return trainer.run()
        except BaseException as error:
            note = failures.note_of(error, rank=place.rank, step=watchdog.where[0], now=time.time())
            failures.write_note(notes_folder(run), note)
            raise


def run_folder(task: TrainTask) -> yard.RunFolder:
    """The run's folder; its name is the run's id."""
    path = Path(task.run_folder)
    return yard.RunFolder(path.name, path)


def notes_folder(run: yard.RunFolder) -> Path:
    """Where workers leave notes of their failures for the driver."""
    return run.train / "failures"


def training_job(task: TrainTask) -> spec.TrainingJob:
    """The task's manifest."""
    (job,) = spec.parse(task.manifest, origin="resolved.yaml")
    if not isinstance(job, spec.TrainingJob):
        raise InvalidInputError(f"a {job.kind} cannot be trained")
    return job


def _unseen(step: int, rows: object) -> None:
    """No test is looking."""
