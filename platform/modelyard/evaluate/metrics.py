"""Metrics that are ratios of sums over documents, each with its 95 % bootstrap interval. NumPy only, no models.

A document is the unit that is drawn: its tokens belong together. A resample draws documents with replacement and
takes the ratio of their sums (never a mean of ratios).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelyard.records import MetricValue

RESAMPLES = 2000  # the ends of a 95 % interval then vary by about 0.03 of its width
CONFIDENCE = 0.95
# With fewer documents a bootstrap interval is far too narrow (of two, it covers half the time), so none is given.
FEWEST_DOCUMENTS = 5
CHUNK_ELEMENTS = 1 << 22  # draws held at once: 32 MiB of int64

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DocumentScores:
    """What was measured of each document, arrays of one length. `nats` is the negative log-probability in all.

    `tokens` counts what was predicted (the text's tokens and its end), `hits` where the model's first choice was
    right, `text_bytes` the UTF-8 bytes of the text.
    """

    nats: Floats
    tokens: Floats
    hits: Floats
    text_bytes: Floats

    def __len__(self) -> int:
        return len(self.nats)


@dataclass(frozen=True)
class Interval:
    """The ends of a two-sided interval."""

    low: float
    high: float


def perplexity_metrics(
    suite: str, scores: DocumentScores, *, unscored: int, rng: np.random.Generator
) -> tuple[MetricValue, ...]:
    """perplexity (per token), bits_per_byte and token_accuracy of a suite; all three from the same resamples.

    The interval is None below FEWEST_DOCUMENTS documents. `scores` must not be empty.
    """
    columns = np.stack([scores.nats, scores.tokens, scores.hits, scores.text_bytes])
    draws = resampled_sums(columns, rng) if len(scores) >= FEWEST_DOCUMENTS else None
    sums = columns.sum(axis=1)
    metrics = []
    for name, formula in FORMULAS.items():
        interval = None if draws is None else percentiles(formula(draws))
        metrics.append(
            MetricValue(
                suite=suite, metric=name, value=float(formula(sums)), items=len(scores), unscored=unscored,
                low=None if interval is None else interval.low, high=None if interval is None else interval.high,
            )
        )  # fmt: skip
    return tuple(metrics)


# (nats, tokens, hits, bytes) to the metric; all monotone in a ratio of sums
FORMULAS: dict[str, Callable[[Floats], Floats]] = {
    "perplexity": lambda sums: np.exp(sums[0] / sums[1]),
    "bits_per_byte": lambda sums: sums[0] / math.log(2) / sums[3],
    "token_accuracy": lambda sums: sums[2] / sums[1],
}


def resampled_sums(columns: Floats, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Sums over documents drawn with replacement: [columns, documents] to [columns, resamples]."""
    return np.concatenate([columns @ weights.T for weights in _weights(columns.shape[1], resamples, rng)], axis=1)


def _weights(documents: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each document is drawn: pieces of [resamples, documents]."""
    step = max(1, CHUNK_ELEMENTS // documents)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(documents, size=(rows, documents)) + np.arange(rows)[:, None] * documents
        counts = np.bincount(drawn.ravel(), minlength=rows * documents)
        yield counts.reshape(rows, documents).astype(np.float64)


def percentiles(values: Floats, confidence: float = CONFIDENCE) -> Interval:
    """The central interval of a resampled statistic (percentile bootstrap)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
