"""Whether a failed worker group is started again: pure counting."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.train.task import WorkerFailure


@dataclass
class Restarts:
    """Counts failures in a row without a new commit; `committed` is the newest committed step so far."""

    allowed: int
    committed: int
    in_a_row: int = field(default=0)

    def again(self, failure: WorkerFailure, *, committed: int) -> bool:
        """Whether to start again after `failure`, with `committed` the newest committed step now."""
        if committed != self.committed:  # lower after a fall-back to an older commit: that is progress too
            self.committed, self.in_a_row = committed, 0
        self.in_a_row += 1
        return failure.retryable and self.in_a_row <= self.allowed
