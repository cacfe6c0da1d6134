"""How long a run is and how its global batch is cut: pure arithmetic on the manifest and the layout."""

from __future__ import annotations

import math
from typing import Protocol

from modelyard.errors import InvalidInputError
from modelyard.spec import OptimizationSpec, TrainingJob

DEFAULT_ROWS = 8  # rows per step when the manifest names no batch (spec: globalBatchTokens)


class Epochs(Protocol):
    """The loader, as far as lengths go."""

    def steps_for(self, epochs: float) -> int: ...


def rows_per_step(job: TrainingJob) -> int:
    """Rows of a global batch: `globalBatchTokens` is a whole number of sequences."""
    optimization, length = job.spec.optimization, job.spec.data.sequence_length
    if optimization.global_batch_examples is not None:
        return optimization.global_batch_examples
    if optimization.global_batch_tokens is None:
        return DEFAULT_ROWS
    rows, rest = divmod(optimization.global_batch_tokens, length)
    if rest or rows < 1:
        raise InvalidInputError(
            f"spec.optimization.globalBatchTokens: {optimization.global_batch_tokens} is not a whole number of "
            f"sequences of {length} tokens",
            hint=f"choose {max(1, rows) * length} or {(rows + 1) * length}",
        )
    return rows


def total_steps(job: TrainingJob, epochs: Epochs) -> int:
    """Optimizer steps of the whole run: given, or by tokens (positions) or epochs, rounded up to whole steps.

    Raises InvalidInputError when a schedule does not fit into the epochs: the manifest's rules cannot know it.
    """
    optimization = job.spec.optimization
    if optimization.steps is not None:
        return optimization.steps
    if optimization.tokens is not None:
        return math.ceil(optimization.tokens / (rows_per_step(job) * job.spec.data.sequence_length))
    if optimization.epochs is not None:
        steps = epochs.steps_for(optimization.epochs)
        _check_schedule(optimization, steps)
        return steps
    raise InvalidInputError("spec.optimization: none of steps, epochs and tokens is set")


def _check_schedule(optimization: OptimizationSpec, steps: int) -> None:
    schedule, decay = optimization.schedule, optimization.schedule.decay_steps or 0
    data = f"{optimization.epochs:g} epochs of this data are only {steps} steps"
    if schedule.warmup_steps >= steps:
        raise InvalidInputError(
            f"spec.optimization.schedule.warmupSteps is {schedule.warmup_steps}, but {data}",
            hint=f"write less than {steps}",
        )
    if schedule.name == "wsd" and schedule.warmup_steps + decay > steps:
        raise InvalidInputError(
            f"spec.optimization.schedule.decaySteps is {decay} after {schedule.warmup_steps} of warm-up, but {data}",
            hint=f"write at most {steps - schedule.warmup_steps}",
        )
