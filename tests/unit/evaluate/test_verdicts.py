"""Verdicts: from an interval and a bound, and over several gates."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from modelyard.evaluate.verdicts import combine, decide
from modelyard.records import MetricValue, SuiteResult, Verdict
from modelyard.spec import GateSpec

AT_MOST_2 = GateSpec(metric="heldout/bits_per_byte", at_most=2.0)
AT_LEAST_2 = GateSpec(metric="heldout/bits_per_byte", at_least=2.0)


def suite(value: float, low: float | None, high: float | None, **fields: Any) -> SuiteResult:
    metric = MetricValue(suite="heldout", metric="bits_per_byte", value=value, low=low, high=high, items=100)
    return SuiteResult(**{"name": "heldout", "task": "perplexity", "items": 100, "metrics": (metric,), **fields})


CASES: dict[str, tuple[GateSpec, SuiteResult, Verdict, str]] = {
    "all below": (AT_MOST_2, suite(1.5, 1.4, 1.6), "Passed", ""),
    "the worse end touches": (AT_MOST_2, suite(1.9, 1.8, 2.0), "Passed", ""),
    "the bound within": (AT_MOST_2, suite(1.9, 1.8, 2.1), "Inconclusive", "the bound lies within the interval"),
    "value above, bound within": (AT_MOST_2, suite(2.05, 1.9, 2.1), "Inconclusive", "more documents would decide"),
    "the better end touches": (AT_MOST_2, suite(2.1, 2.0, 2.2), "Inconclusive", "within"),
    "all above": (AT_MOST_2, suite(2.3, 2.1, 2.5), "Failed", "is 2.3 (2.1 to 2.5), at most 2 was asked for"),
    "at least: all above": (AT_LEAST_2, suite(2.3, 2.1, 2.5), "Passed", ""),
    "at least: within": (AT_LEAST_2, suite(2.0, 1.9, 2.1), "Inconclusive", "within"),
    "at least: all below": (AT_LEAST_2, suite(1.5, 1.4, 1.6), "Failed", "at least 2 was asked for"),
    "no interval": (AT_MOST_2, suite(1.0, None, None), "Inconclusive", "too few for an interval"),
    "not a number": (AT_MOST_2, suite(math.nan, 1.0, 2.0), "Error", "not a finite number"),
    "an infinite end": (AT_MOST_2, suite(1.0, 1.0, math.inf), "Error", "not a finite number"),
    "nothing scored": (AT_MOST_2, suite(1.0, 0.9, 1.1, items=0, metrics=()), "Error", "scored no documents"),
    "nothing scored, with the reason": (
        AT_MOST_2, suite(1, 1, 1, items=0, metrics=(), message="its sources hold none"), "Error", "hold none",
    ),
    "a few unscored": (AT_MOST_2, suite(1.5, 1.4, 1.6, unscored=1), "Passed", ""),
    "too many unscored": (
        AT_MOST_2, suite(1.5, 1.4, 1.6, unscored=2, unscored_reasons={"invalid_utf8": 2}), "Error",
        "2 of 102 documents of suite heldout could not be scored (2 invalid_utf8)",
    ),
    "no such metric": (GateSpec(metric="heldout/rouge", at_most=1.0), suite(1, 1, 1), "Error", "there is no metric"),
    "no such suite": (GateSpec(metric="other/rouge", at_most=1.0), suite(1, 1, 1), "Error", "the suites are: heldout"),
    "a baseline": (
        GateSpec.model_validate({"metric": "heldout/bits_per_byte", "notWorseThanBaseline": {"margin": 0.1}}),
        suite(1, 1, 1), "Error", "not built yet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_decide(case: str) -> None:
    gate, result, verdict, words = CASES[case]
    decided = decide(gate, [result])
    assert decided.verdict == verdict
    assert words in decided.message
    assert bool(decided.message) == (verdict != "Passed")


def test_no_suites_at_all() -> None:
    decided = decide(AT_MOST_2, [])
    assert decided.verdict == "Error"
    assert "the suites are: none" in decided.message


def test_the_worst_verdict_counts() -> None:
    order: list[Verdict] = ["Error", "Failed", "Inconclusive", "Passed"]
    assert combine([]) is None
    for size in (1, 2, 3, 4):
        for verdicts in itertools.permutations(order, size):
            assert combine(verdicts) == min(verdicts, key=order.index)
