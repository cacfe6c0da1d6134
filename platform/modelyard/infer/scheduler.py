"""Which sequences advance in this step, and by how many tokens: a pure function of what waits and runs.

Every running sequence that only lacks its next token gets it; what is left of the budget goes, first come first
served, to prompts (a long one in chunks) and then to new sequences while rows are free. The engine calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`max_batch_tokens` bounds the tokens fed in one step, `max_sequences` those that hold cache rows at once."""

    max_sequences: int
    max_batch_tokens: int


@dataclass(frozen=True)
class SequenceView:
    """A sequence as the scheduler sees it: `pending` tokens are known but not yet in the cache (at least 1).

    `max_chunk` bounds what it may be fed in one step (prompts whose logits are all wanted cost memory).
    """

    key: int
    pending: int
    max_chunk: int | None = None


@dataclass(frozen=True)
class Advance:
    """Feed this sequence its next `num_tokens` pending tokens."""

    key: int
    num_tokens: int


@dataclass(frozen=True)
class StepPlan:
    """The step's advances: of running sequences in their order, then of newly admitted ones in theirs."""

    advances: tuple[Advance, ...]
    admitted: tuple[int, ...]


def plan_step(running: Sequence[SequenceView], waiting: Sequence[SequenceView], limits: Limits) -> StepPlan:
    """Plan one step. Both queues are in order of arrival; `waiting` may be cut to the first `max_sequences`.

    Nobody starves: rows and budget are handed out in order of arrival, and a sequence that decodes needs one
    token, so with `max_batch_tokens >= max_sequences` everyone who holds a row advances at every step.
    """
    budget = limits.max_batch_tokens - sum(view.pending == 1 for view in running)
    advances: list[Advance] = []
    for view in running:
        granted = 1 if view.pending == 1 else _chunk(view, budget)
        budget -= granted if view.pending > 1 else 0
        if granted > 0:
            advances.append(Advance(view.key, granted))
    admitted: list[int] = []
    for view in waiting[: max(0, limits.max_sequences - len(running))]:
        granted = _chunk(view, budget)
        if granted <= 0:
            break
        budget -= granted
        advances.append(Advance(view.key, granted))
        admitted.append(view.key)
    return StepPlan(tuple(advances), tuple(admitted))


def _chunk(view: SequenceView, budget: int) -> int:
    return min(view.pending, budget, view.max_chunk or view.pending)
