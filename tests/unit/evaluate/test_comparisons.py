"""Two models on the same documents: pairs, the paired interval's coverage, and what pairing decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelyard.evaluate.comparisons import Pairs, SuiteScores, difference, pair, resamples
from modelyard.evaluate.metrics import DocumentScores, perplexity_metrics
from modelyard.evaluate.verdicts import judge_difference
from modelyard.records import Difference, SuiteResult


def scored(nats: list[float], places: list[int], *, cut: bytes = b"") -> SuiteScores:
    """A suite of one-token documents at these places of its sources."""
    ones = np.ones(len(nats))
    return SuiteScores(
        SuiteResult(name="s", task="perplexity", items=len(nats)),
        DocumentScores(np.array(nats, dtype=np.float64), ones, ones, ones),
        keys=tuple((place, b"") for place in places),
        cuts=(cut,) * len(nats),
    )


def sampled(rng: np.random.Generator, *, worse: float, documents: int = 60) -> Pairs:
    """Documents that are hard for both models alike, the first `worse` nats a byte worse on average."""
    sizes = rng.lognormal(4, 1, size=documents)
    hard = rng.gamma(8, 0.25, size=documents)
    noise = rng.normal(worse * np.log(2), 0.05, size=documents)
    ones = np.ones(documents)
    baseline = DocumentScores(sizes * hard, ones, ones, sizes)
    return Pairs(replace(baseline, nats=sizes * (hard + noise)), baseline, unpaired=0, same_tokens=True)


def compared(pairs: Pairs, *, confidence: float = 0.95, seed: int = 0) -> Difference:
    found = difference("bits_per_byte", pairs, confidence=confidence, rng=np.random.default_rng(seed))
    assert found is not None
    return found


def test_documents_are_paired_by_their_place_and_the_rest_is_counted() -> None:
    pairs = pair(scored([1.0, 2.0, 4.0], [0, 1, 3]), scored([30.0, 20.0, 50.0], [3, 1, 4]))
    assert (pairs.target.nats.tolist(), pairs.baseline.nats.tolist()) == ([2.0, 4.0], [20.0, 30.0])
    assert pairs.unpaired == 2
    found = compared(pairs)
    assert found.value == pytest.approx((3.0 - 25.0) / np.log(2))
    assert (found.items, found.unpaired, found.low, found.high) == (2, 2, None, None)


def test_a_text_that_changed_between_the_two_is_no_pair() -> None:
    target, baseline = scored([1.0], [0]), scored([2.0], [0])
    pairs = pair(target, replace(baseline, keys=((0, b"other"),)))
    assert pairs.unpaired == 2
    assert difference("bits_per_byte", pairs, confidence=0.95, rng=np.random.default_rng(0)) is None


def test_tokenizers_that_cut_otherwise_are_seen() -> None:
    assert pair(scored([1.0], [0]), scored([1.0], [0])).same_tokens
    assert not pair(scored([1.0], [0]), scored([1.0], [0], cut=b"x")).same_tokens


def test_the_same_seed_gives_the_same_interval() -> None:
    pairs = sampled(np.random.default_rng(1), worse=0.1)
    assert compared(pairs) == compared(pairs)
    assert compared(pairs) != compared(pairs, seed=1)


def test_equal_scores_differ_by_exactly_nothing() -> None:
    pairs = sampled(np.random.default_rng(1), worse=0.1)
    found = compared(replace(pairs, target=pairs.baseline))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert judge_difference("s/bits_per_byte", "b@1", found, 0.0).verdict == "Passed"


def test_each_end_leaves_out_what_it_says() -> None:
    """250 samples of 60 pairs whose true difference is known: each end is wrong about as often as it may be."""
    above = below = 0
    for seed in range(250):
        found = compared(sampled(np.random.default_rng([7, seed]), worse=0.1), confidence=0.9, seed=seed)
        assert found.low is not None
        assert found.high is not None
        above += found.low > 0.1
        below += found.high < 0.1
    assert 0.05 <= above / 250 <= 0.16
    assert 0.05 <= below / 250 <= 0.16


def test_pairs_decide_where_two_intervals_overlap() -> None:
    pairs = sampled(np.random.default_rng(3), worse=0.1)
    bits = [
        next(
            metric
            for metric in perplexity_metrics("s", scores, unscored=0, rng=np.random.default_rng(0))
            if metric.metric == "bits_per_byte"
        )
        for scores in (pairs.target, pairs.baseline)
    ]
    assert bits[0].low is not None
    assert bits[1].high is not None
    assert bits[0].low < bits[1].value < bits[0].value < bits[1].high, "side by side they tell nothing"
    verdicts = {m: judge_difference("s/bits_per_byte", "b@1", compared(pairs), m).verdict for m in (0.0, 0.1, 0.2)}
    assert verdicts == {0.0: "Failed", 0.1: "Inconclusive", 0.2: "Passed"}


def test_higher_confidence_draws_more() -> None:
    assert [resamples(confidence) for confidence in (0.5, 0.95, 0.99, 0.9999)] == [2000, 2000, 10_000, 20_000]
