"""Verdicts: from an interval and a bound, and over several gates."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from modelyard.evaluate.verdicts import Comparison, combine, decide
from modelyard.records import Difference, MetricValue, SuiteResult, Verdict
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
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_decide(case: str) -> None:
    gate, result, verdict, words = CASES[case]
    decided = decide(gate, [result])
    assert decided.verdict == verdict
    assert words in decided.message
    assert bool(decided.message) == (verdict != "Passed")


def not_worse(metric: str) -> GateSpec:
    return GateSpec.model_validate({"metric": f"heldout/{metric}", "notWorseThanBaseline": {"margin": 0.1}})


def differs(value: float, low: float | None, high: float | None, **fields: Any) -> Comparison:
    """A comparison with small@1 in which the metric, 2.0 there, differs by `value`."""
    numbers = {"target": 2.0 + value, "baseline": 2.0, "confidence": 0.95, "items": 100, "unpaired": 0}
    found = Difference(value=value, low=low, high=high, **{**numbers, **fields.pop("found", {})})
    return Comparison(**{"baseline": "small@1", "difference": found, **fields})


GONE = "there is no registry://small@stable: no alias"
BITS, PERPLEXITY, ACCURACY = "bits_per_byte", "perplexity", "token_accuracy"
# the margin is 0.1 in all
COMPARISONS: dict[str, tuple[str, Comparison | None, Verdict, str]] = {
    "better": (BITS, differs(-0.3, -0.4, -0.2), "Passed", "is 1.7, -0.3 against small@1 (-0.4 to -0.2 at 0.95"),
    "a little worse, all within the margin": (BITS, differs(0.05, 0.02, 0.08), "Passed", "at most 0.1 worse"),
    "the worse end touches": (BITS, differs(0.05, 0.0, 0.1), "Passed", "100 documents"),
    "the same model": (BITS, differs(0.0, 0.0, 0.0), "Passed", "+0 against small@1"),
    "worse": (BITS, differs(0.3, 0.2, 0.4), "Failed", "is 2.3, +0.3 against small@1"),
    "the margin within": (BITS, differs(0.05, -0.1, 0.2), "Inconclusive", "more documents would decide"),
    "the better end touches": (BITS, differs(0.2, 0.1, 0.3), "Inconclusive", "the margin lies within"),
    "perplexity too": (PERPLEXITY, differs(0.3, 0.2, 0.4), "Failed", "heldout/perplexity"),
    "higher is better: better": (ACCURACY, differs(0.3, 0.2, 0.4), "Passed", "+0.3"),
    "higher is better: a little worse": (ACCURACY, differs(-0.05, -0.1, 0.0), "Passed", "-0.05"),
    "higher is better: worse": (ACCURACY, differs(-0.3, -0.4, -0.2), "Failed", "-0.3"),
    "higher is better: the margin within": (ACCURACY, differs(-0.1, -0.2, 0.0), "Inconclusive", "within"),
    "too few documents": (BITS, differs(0.0, None, None), "Inconclusive", "too few for an interval"),
    "no baseline at all": (BITS, None, "Error", "has no baseline"),
    "missing, pass": (BITS, Comparison("r", missing=GONE, when_missing="pass"), "Passed", "whenMissing is pass"),
    "missing, fail": (BITS, Comparison("r", missing=GONE, when_missing="fail"), "Failed", GONE),
    "nothing in pairs": (BITS, Comparison("small@1"), "Error", "no document of suite heldout was scored by both"),
    "nothing in pairs, and why": (BITS, Comparison("small@1", message="it holds none"), "Error", "small@1: it holds"),
    "one document in a hundred without its like": (
        BITS, differs(0.0, 0.0, 0.0, found={"items": 99, "unpaired": 1}), "Passed",
        "1 scored by one of the two only",
    ),
    "two": (BITS, differs(0.0, 0.0, 0.0, found={"items": 98, "unpaired": 2}), "Error", "2 of 100 documents"),
    "other tokens, by the byte": (BITS, differs(0.0, 0.0, 0.0, same_tokens=False), "Passed", ""),
    "other tokens, perplexity": (
        PERPLEXITY, differs(0.0, 0.0, 0.0, same_tokens=False), "Error", "compare heldout/bits_per_byte",
    ),
    "other tokens, accuracy": (ACCURACY, differs(0.0, 0.0, 0.0, same_tokens=False), "Error", "bits_per_byte"),
    "not a number": (BITS, differs(math.nan, 0.0, 1.0), "Error", "not a finite number"),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPARISONS)
def test_a_comparison_with_a_baseline(case: str) -> None:
    name, comparison, verdict, words = COMPARISONS[case]
    gate = not_worse(name)
    metric = MetricValue(suite="heldout", metric=name, value=2.0, low=1.5, high=2.5, items=100)
    decided = decide(gate, [suite(1, 1, 1, metrics=(metric,))], comparison=comparison)
    assert decided.verdict == verdict, decided.message
    assert words in decided.message
    assert (decided.rule, decided.bound, decided.low, decided.high) == ("notWorseThanBaseline", 0.1, 1.5, 2.5)


def test_what_is_wrong_with_the_model_itself_is_said_before_any_comparison() -> None:
    gate = not_worse("bits_per_byte")
    comparison = Comparison("small@1", missing=GONE, when_missing="pass")
    decided = decide(gate, [suite(1, 1, 1, items=0, metrics=(), message="it holds none")], comparison=comparison)
    assert (decided.verdict, decided.message) == ("Error", "it holds none")


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
