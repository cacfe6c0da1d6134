"""The training loop: batch → objective's loss → backward → step → record → maybe evaluate, checkpoint, stop.

It knows no objective, no Ray, no DeepSpeed and no storage by name: its parts are handed in, once per start of the
worker group, by `worker.py`. Every rank runs it in step; they agree on everything by one small sum a step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from modelyard.train.batches import Batch
from modelyard.train.objectives import Objective
from modelyard.train.watch import WAITING


class Engine(Protocol):
    """A sharded module with its optimizer."""

    def __call__(self, **inputs: object) -> object: ...
    def backward(self, loss: torch.Tensor) -> None: ...
    def step(self, learning_rate: float) -> float: ...


class Workers(Protocol):
    """The worker group."""

    world: int

    def total(self, *values: float) -> list[float]:
        """Each value summed over the workers."""
        ...


@dataclass(frozen=True)
class StepRecord:
    """One finished step, as it is told. Loss in nats per token, times in seconds, `tokens` since the run began."""

    step: int
    tokens: int
    step_tokens: int
    loss: float
    gradient_norm: float
    learning_rate: float
    step_seconds: float
    data_seconds: float
    forward_backward_seconds: float
    optimizer_seconds: float
    wait_seconds: float
    validation_loss: float | None = None
    validation_seconds: float | None = None


@dataclass(frozen=True)
class Position:
    """Where training stands: after `step`, having learnt from `tokens`."""

    step: int = 0
    tokens: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class LoopParts:
    """What a loop is made of. Steps count from 1."""

    total_steps: int
    evaluate_every: int | None
    checkpoint_every: int
    workers: Workers
    engine: Engine
    objective: Objective
    batch: Callable[[int], Batch]
    learning_rate: Callable[[int], float]
    set_chance: Callable[[int, int], None]  # (step, micro-step): seeds every draw of it
    stop_wished: Callable[[], bool]
    evaluate: Callable[[], float]
    checkpoint: Callable[[StepRecord], None]
    record: Callable[[StepRecord], None]
    phase: Callable[[int, str], None]  # (step, what it does now), for the watchdog
    non_finite: Callable[[int, Batch, str, float], Exception]


def train(parts: LoopParts, position: Position) -> Position:
    """Train from `position` to the last step, or to the step in which a stop was wished; that one is committed."""
    step, tokens, loss = position.step, position.tokens, position.loss
    if step >= parts.total_steps:
        return position
    parts.phase(step + 1, "data")
    batch = parts.batch(step + 1)
    (count,) = parts.workers.total(batch.num_labels)
    stop = False
    while step < parts.total_steps and not stop:
        step += 1
        clock = _Laps()
        parts.phase(step, "forward and backward")
        loss_here = _forward_backward(parts, step, batch, parts.workers.world / max(count, 1.0))
        clock.lap("forward_backward")

        parts.phase(step, "data")
        coming = parts.batch(step + 1) if step < parts.total_steps else None
        clock.lap("data")

        parts.phase(step, WAITING)
        wish = parts.stop_wished()
        loss_sum, coming_count, wishes = parts.workers.total(loss_here, coming.num_labels if coming else 0, wish)
        loss, stop = loss_sum / max(count, 1.0), wishes > 0
        clock.lap("wait")
        if not math.isfinite(loss):
            raise parts.non_finite(step, batch, "loss", loss_here)

        parts.phase(step, "optimizer step")
        rate = parts.learning_rate(step)
        norm = parts.engine.step(rate)
        clock.lap("optimizer")
        if not math.isfinite(norm):
            raise parts.non_finite(step, batch, "gradient norm", loss_here)

        tokens += int(count)
        last = stop or step == parts.total_steps
        validation, validation_seconds = None, None
        if parts.evaluate_every and (step % parts.evaluate_every == 0 or step == parts.total_steps):
            parts.phase(step, "validation")
            validation = parts.evaluate()
            validation_seconds = clock.lap("validation")
        record = StepRecord(
            step=step, tokens=tokens, step_tokens=int(count), loss=loss, gradient_norm=norm, learning_rate=rate,
            step_seconds=clock.total - (validation_seconds or 0.0), data_seconds=clock["data"],
            forward_backward_seconds=clock["forward_backward"], optimizer_seconds=clock["optimizer"],
            wait_seconds=clock["wait"], validation_loss=validation, validation_seconds=validation_seconds,
        )  # fmt: skip
        parts.record(record)
        if last or step % parts.checkpoint_every == 0:
            parts.phase(step, "checkpoint")
            parts.checkpoint(record)
        if coming is not None:
            batch, count = coming, coming_count
    return Position(step, tokens, loss)


def _forward_backward(parts: LoopParts, step: int, batch: Batch, weight: float) -> float:
    """Accumulate this rank's gradients of a step; returns its loss sum. `weight` undoes the workers' averaging."""
    total = 0.0
    for micro_step, micro_batch in enumerate(batch):
        parts.set_chance(step, micro_step)
        loss = parts.objective.loss_sum(parts.engine, micro_batch)
        parts.engine.backward(loss * weight)
        total += float(loss.detach())
    return total


class _Laps:
    """Seconds by part of a step."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> float:
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now
        return self._laps[name]

    def __getitem__(self, name: str) -> float:
        return self._laps[name]

    @property
    def total(self) -> float:
        return self._last - self._start
