"""Ratios of sums and their bootstrap intervals: known values, known coverage, the same twice."""

from __future__ import annotations

import lzma
import math

import numpy as np
import pytest

from modelyard.evaluate import metrics, references
from modelyard.evaluate.metrics import DocumentScores, percentiles, perplexity_metrics, resampled_sums


def scores(nats: list[float], tokens: list[float], hits: list[float], text_bytes: list[float]) -> DocumentScores:
    return DocumentScores(*(np.array(column, dtype=np.float64) for column in (nats, tokens, hits, text_bytes)))


def test_values_are_ratios_of_sums_not_means_of_ratios() -> None:
    found = perplexity_metrics(
        "s", scores([2.0, 30.0], [2, 10], [1, 4], [4, 50]), unscored=3, rng=np.random.default_rng(0)
    )
    by_name = {metric.metric: metric for metric in found}
    assert by_name["perplexity"].value == pytest.approx(math.exp(32 / 12))
    assert by_name["bits_per_byte"].value == pytest.approx(32 / math.log(2) / 54)
    assert by_name["token_accuracy"].value == pytest.approx(5 / 12)
    assert all((m.items, m.unscored, m.low, m.high) == (2, 3, None, None) for m in found)  # too few for an interval


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    data = DocumentScores(*rng.uniform(1, 9, size=(4, 50)))
    once, twice, other = (perplexity_metrics("s", data, unscored=0, rng=np.random.default_rng(s)) for s in (5, 5, 6))
    assert once == twice
    assert once != other
    assert all(m.low is not None and m.high is not None and m.low < m.value < m.high for m in once)


def test_documents_that_are_all_alike_give_a_point() -> None:
    data = scores([3.0] * 8, [2.0] * 8, [1.0] * 8, [6.0] * 8)
    for metric in perplexity_metrics("s", data, unscored=0, rng=np.random.default_rng(0)):
        assert metric.low == pytest.approx(metric.value)
        assert metric.high == pytest.approx(metric.value)


def test_the_bootstrap_of_a_mean_has_the_known_spread() -> None:
    """Of a mean, the bootstrap's variance is the sample's variance over n."""
    values = np.random.default_rng(2).normal(10, 3, size=400)
    sums = resampled_sums(np.stack([values, np.ones(400)]), np.random.default_rng(3), resamples=8000)
    means = sums[0] / sums[1]
    assert sums[1].tolist() == [400.0] * 8000
    assert means.std() == pytest.approx(values.std() / 20, rel=0.03)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    interval = percentiles(means)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_the_interval_of_a_ratio_covers_what_it_says() -> None:
    """200 samples of 60 documents whose true ratio is known: about 95 % of the intervals hold it."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng([9, seed])
        sizes = rng.lognormal(4, 1, size=60)
        nats = sizes * rng.gamma(8, 0.25, size=60)  # 2 nats a byte on average, whatever the size
        sums = resampled_sums(np.stack([nats, sizes]), rng, resamples=400)
        interval = percentiles(sums[0] / sums[1])
        covered += interval.low <= 2.0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_many_documents_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.random.default_rng(0).uniform(size=(2, 30))
    whole = resampled_sums(columns, np.random.default_rng(4), resamples=50)
    monkeypatch.setattr(metrics, "CHUNK_ELEMENTS", 100)
    assert np.allclose(resampled_sums(columns, np.random.default_rng(4), resamples=50), whole)


def test_unigram_costs_sum_to_one() -> None:
    costs = references.unigram_nats(np.array([5, 0, 3]))
    assert np.exp(-costs).sum() == pytest.approx(1)
    assert costs[1] == pytest.approx(math.log(11))


def test_xz_is_what_xz_9_gives() -> None:
    texts = [b"the loop is the table of contents " * 50, "Übermäßig große Straßen".encode() * 20]
    assert references.xz_bits_per_byte(texts) == pytest.approx(
        8 * len(lzma.compress(b"\n".join(texts), preset=9)) / sum(map(len, texts)), rel=0.01
    )
    assert references.xz_bits_per_byte([]) is None
    assert [references.lzma_window(n) for n in (1, 2, 3, 1 << 20, 1 << 30)] == [1, 2, 4, 1 << 20, 64 << 20]
