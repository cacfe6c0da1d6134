"""Two models on the same documents: what a metric differs by, with its paired bootstrap interval. NumPy only.

What makes one document hard makes it hard for both models. So each resample draws the same documents for both, and
the interval is that of the difference: far narrower than two intervals side by side can tell.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard.evaluate.metrics import FEWEST_DOCUMENTS, FORMULAS, RESAMPLES, DocumentScores, Floats, resampled_sums
from modelyard.records import BaselineResult, Difference, SuiteResult

BEYOND = 100  # resamples that lie beyond an end of an interval: fewer, and the end is a matter of luck. By feel
MOST_RESAMPLES = 20_000  # so up to a confidence of 0.995; above it the ends are less sure

DocumentKey = tuple[int, bytes]
"""Which document it is: its place in the suite's sources, and the digest of its text (it may change between)."""


@dataclass(frozen=True)
class SuiteScores:
    """What a suite gave, and of which documents: `keys` and `cuts` belong to the rows of `scores`.

    A cut is the digest of a document's tokens: models whose tokenizers agree have the same.
    """

    result: SuiteResult
    scores: DocumentScores
    keys: tuple[DocumentKey, ...]
    cuts: tuple[bytes, ...]


@dataclass(frozen=True)
class Measured:
    """A model's scores, suite by suite."""

    suites: tuple[SuiteScores, ...]

    def suite(self, name: str) -> SuiteScores | None:
        """The suite of that name."""
        return next((suite for suite in self.suites if suite.result.name == name), None)


@dataclass(frozen=True)
class Baseline:
    """What a model is compared with. Not `measured`: it is missing, or it is the model itself (the same digest)."""

    model: str
    digest: str
    missing: str = ""
    when_missing: Literal["fail", "pass"] = "fail"
    measured: Measured | None = None

    def record(self, target: Measured) -> BaselineResult:
        """As the evaluation keeps it; `target` is what the model itself gave."""
        scored = () if self.missing else (self.measured or target).suites
        return BaselineResult(
            model=self.model,
            model_digest=self.digest,
            missing=self.missing,
            when_missing=self.when_missing,
            suites=tuple(suite.result for suite in scored),
        )


@dataclass(frozen=True)
class Pairs:
    """The documents that both models scored, row by row; `unpaired` only one of them could.

    `same_tokens`: both cut every text into the same tokens, so that figures per token can be compared.
    """

    target: DocumentScores
    baseline: DocumentScores
    unpaired: int
    same_tokens: bool


def pair(target: SuiteScores, baseline: SuiteScores) -> Pairs:
    """Bring the documents of two models together."""
    places = {key: row for row, key in enumerate(baseline.keys)}
    rows = [(row, places[key]) for row, key in enumerate(target.keys) if key in places]
    ours, theirs = [one for one, _ in rows], [other for _, other in rows]
    return Pairs(
        target=_rows(target.scores, ours),
        baseline=_rows(baseline.scores, theirs),
        unpaired=len(target.keys) + len(baseline.keys) - 2 * len(rows),
        same_tokens=all(target.cuts[one] == baseline.cuts[other] for one, other in rows),
    )


def _rows(scores: DocumentScores, rows: list[int]) -> DocumentScores:
    return DocumentScores(scores.nats[rows], scores.tokens[rows], scores.hits[rows], scores.text_bytes[rows])


def difference(metric: str, pairs: Pairs, *, confidence: float, rng: np.random.Generator) -> Difference | None:
    """What `metric` differs by (target minus baseline); None when there are no pairs."""
    if not len(pairs.target):
        return None
    formula = FORMULAS[metric]
    both = [_columns(scores) for scores in (pairs.target, pairs.baseline)]
    target, baseline = (float(formula(columns.sum(axis=1))) for columns in both)
    low = high = None
    if len(pairs.target) >= FEWEST_DOCUMENTS:
        # one after the other by copies of one generator: the same draws, and equal scores differ by exactly nothing
        drawn = [formula(resampled_sums(columns, deepcopy(rng), resamples(confidence))) for columns in both]
        low, high = map(float, np.quantile(drawn[0] - drawn[1], [1 - confidence, confidence]))
    return Difference(
        target=target, baseline=baseline, value=target - baseline, low=low, high=high, confidence=confidence,
        items=len(pairs.target), unpaired=pairs.unpaired,
    )  # fmt: skip


def no_difference(value: float, items: int, *, confidence: float) -> Difference:
    """A model compared with itself: exactly zero, whatever documents are drawn."""
    return Difference(target=value, baseline=value, value=0.0, low=0.0, high=0.0, confidence=confidence, items=items)


def resamples(confidence: float) -> int:
    """How many draws the ends of a one-sided interval need."""
    return max(RESAMPLES, min(MOST_RESAMPLES, math.ceil(BEYOND / (1 - confidence))))


def _columns(scores: DocumentScores) -> Floats:
    columns: npt.NDArray[np.float64] = np.stack([scores.nats, scores.tokens, scores.hits, scores.text_bytes])
    return columns
