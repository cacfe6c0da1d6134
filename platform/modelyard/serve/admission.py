"""Whether a request may wait for a place in the batch. Pure: the gateway measures, this decides."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What the replica is doing now: sequences (choices), not requests; `seconds_per_sequence` is a moving mean."""

    running: int
    waiting: int
    seconds_per_sequence: float


@dataclass(frozen=True)
class Admission:
    """The decision; `retry_after_seconds` is set when refused."""

    admitted: bool
    retry_after_seconds: int = 0


def admit(load: Load, *, max_sequences: int, max_waiting: int) -> Admission:
    """Admit while fewer than `max_waiting` sequences wait.

    A request's own number of choices does not count against it (it is bounded by the protocol), so a batch of prompts
    larger than the queue is served when the queue is empty instead of never.
    """
    if load.waiting < max_waiting:
        return Admission(admitted=True)
    rounds = (load.waiting - max_waiting + 1) / max_sequences
    wait = math.ceil(rounds * load.seconds_per_sequence)
    return Admission(admitted=False, retry_after_seconds=min(max(wait, 1), 60))  # 60 chosen by feel
