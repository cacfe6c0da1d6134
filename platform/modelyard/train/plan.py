"""How long a run is and how its global batch is cut: pure arithmetic on the manifest and the layout."""

from __future__ import annotations

import math
from typing import Protocol

from modelyard.errors import InvalidInputError
from modelyard.spec import TrainingJob

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
    """Optimizer steps of the whole run: given, or by tokens (positions) or epochs, rounded up to whole steps."""
    optimization = job.spec.optimization
    if optimization.steps is not None:
        return optimization.steps
    if optimization.tokens is not None:
        return math.ceil(optimization.tokens / (rows_per_step(job) * job.spec.data.sequence_length))
    if optimization.epochs is not None:
        return epochs.steps_for(optimization.epochs)
    raise InvalidInputError("spec.optimization: none of steps, epochs and tokens is set")
