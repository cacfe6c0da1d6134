"""Which documents an epoch reads, in which order, and how their streams are cut to rows. Pure, NumPy only.

A document of n tokens is the stream `begin d1 … dn end`: n + 1 predictions. An epoch is the streams of its documents
end to end; a row is the next L predictions of it, so that each token and each end is a label exactly once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """`documents` in reading order; document k's predictions are `starts[k]` to `starts[k + 1]` of the epoch."""

    documents: Ids
    starts: Ids

    @property
    def predictions(self) -> int:
        """Labels in the epoch."""
        return int(self.starts[-1])


def plan_epoch(
    lengths: Ids, source_ids: npt.NDArray[np.uint16], passes: tuple[float, ...], *, seed: int, epoch: int
) -> EpochPlan:
    """The plan of one epoch: a function of its arguments alone.

    `passes[s]` says how often source s is read per epoch; a half means that two epochs read each document once.
    """
    chosen = [
        documents[_select(len(documents), times, seed=seed, source=source, epoch=epoch)]
        for source, times in enumerate(passes)
        if len(documents := np.flatnonzero(source_ids == source))
    ]
    order = _chance(seed, 1, epoch, 0).permutation(np.concatenate([np.zeros(0, dtype=np.int64), *chosen]))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths[order] + 1, dtype=np.int64)])
    return EpochPlan(order, starts)


def constant_predictions(lengths: Ids, source_ids: npt.NDArray[np.uint16], passes: tuple[float, ...]) -> int | None:
    """Labels of every epoch, when all passes are whole numbers; else None: epochs differ."""
    if any(times != int(times) for times in passes):
        return None
    return sum(int(times) * int((lengths[source_ids == source] + 1).sum()) for source, times in enumerate(passes))


def _select(num_documents: int, times: float, *, seed: int, source: int, epoch: int) -> Ids:
    """Indices within a source: the epoch's stretch of an endless chain of permutations, pass after pass."""
    exact = Fraction(str(times)) * num_documents
    first, last = math.floor(exact * epoch), math.floor(exact * (epoch + 1))
    parts = [np.zeros(0, dtype=np.int64)]
    for turn in range(first // num_documents, -(-last // num_documents)):
        whole = _chance(seed, 0, turn, source).permutation(num_documents).astype(np.int64)
        start = turn * num_documents
        parts.append(whole[max(first - start, 0) : min(last - start, num_documents)])
    return np.concatenate(parts)


def _chance(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
