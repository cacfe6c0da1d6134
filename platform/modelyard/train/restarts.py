"""Whether a failed worker group is started again: pure counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from modelyard.records import AttemptRecord
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


def failures_before(claims: Sequence[AttemptRecord], commit_attempt: int) -> int:
    """Worker groups of earlier attempts that ended without a commit, since the newest one or since a fresh start.

    `commit_attempt` made the newest commit that counts, 0 when there is none.
    """
    begun = [claim.attempt for claim in claims if claim.role == "driver" and not claim.commits and not claim.stages]
    since = max(commit_attempt, *begun, 0)
    return sum(claim.role == "group" and claim.attempt > since for claim in claims)
