"""Learning rates as pure functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Protocol

from modelyard.errors import InvalidInputError


class ScheduleWish(Protocol):
    """`optimization.schedule` of a manifest."""

    @property
    def name(self) -> str: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def minimum_ratio(self) -> float: ...
    @property
    def decay_steps(self) -> int | None: ...


def learning_rate(peak: float, schedule: ScheduleWish, step: int, total_steps: int) -> float:
    """The rate of step `step` (the first is 1) of `total_steps`: warm-up to `peak`, then the schedule's shape."""
    return peak * ratio(schedule, step, total_steps)


def ratio(schedule: ScheduleWish, step: int, total_steps: int) -> float:
    """Share of the peak, in [0, 1]. Warm-up rises linearly and reaches 1 at step `warmup_steps`; an only step has 1."""
    warmup, low = schedule.warmup_steps, schedule.minimum_ratio
    if step < warmup:
        return step / warmup
    if schedule.name == "constant" or total_steps == 1:
        return 1.0
    if schedule.name == "wsd":
        decay = schedule.decay_steps or max(1, (total_steps - warmup) // 10)  # a tenth: MiniCPM, arXiv:2404.06395
        return 1.0 - (1.0 - low) * _share(step, total_steps - decay, total_steps)
    done = _share(step, max(warmup, 1), total_steps)
    if schedule.name == "linear":
        return 1.0 - (1.0 - low) * done
    if schedule.name == "cosine":
        return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * done))
    raise InvalidInputError(f"spec.optimization.schedule.name: {schedule.name!r} is no schedule")


def _share(step: int, start: int, end: int) -> float:
    """How far `step` is from `start` to `end`, held to [0, 1]."""
    if end <= start:
        return 1.0 if step >= end else 0.0
    return min(1.0, max(0.0, (step - start) / (end - start)))
