"""From metrics and gates to verdicts: pure, and never from a bare number.

A gate looks at the metric's 95 % interval. `Passed`: the interval's worse end meets the bound. `Failed`: even its
better end does not. `Inconclusive`: the bound lies within the interval, or there are too few items for one.
`Error`: there is nothing to judge: no such metric, nothing scored, too much unscored, not a finite number.
Over several gates the worst counts: Error, then Failed, then Inconclusive, then Passed.

A comparison looks at the interval of the paired difference, and at the margin in the place of the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from modelyard.data.documents import HARMLESS
from modelyard.records import Difference, GateResult, MetricValue, SuiteResult, Verdict

if TYPE_CHECKING:
    from modelyard.spec import GateSpec

WORST_FIRST: tuple[Verdict, ...] = ("Error", "Failed", "Inconclusive", "Passed")
MAX_UNSCORED_FRACTION = 0.01  # above it the items left are no longer the suite: chosen by feel
HIGHER_IS_BETTER = frozenset({"token_accuracy"})
PER_TOKEN = frozenset({"perplexity", "token_accuracy"})  # another tokenizer, another unit


@dataclass(frozen=True)
class Comparison:
    """What is known of a metric beside the baseline's. `missing`: there is no such model, in words.

    No `difference`: nothing could be paired; `message` may say why the baseline scored nothing. `same_tokens`: both
    models cut the texts into the same tokens.
    """

    baseline: str
    missing: str = ""
    when_missing: Literal["fail", "pass"] = "fail"
    difference: Difference | None = None
    same_tokens: bool = True
    message: str = ""


class Judgement(NamedTuple):
    """A verdict and the reason in words."""

    verdict: Verdict
    message: str


def combine(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict over several: the worst of them; None when there are none."""
    given = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in given), None)


def decide(
    gate: GateSpec,
    suites: Sequence[SuiteResult],
    *,
    comparison: Comparison | None = None,
    max_unscored_fraction: float = MAX_UNSCORED_FRACTION,
) -> GateResult:
    """One gate's verdict with the numbers and the reason in words (none when a bound was met).

    `comparison` is for a gate that compares; without one there is no baseline.
    """
    metric = next((m for s in suites for m in s.metrics if f"{m.suite}/{m.metric}" == gate.metric), None)
    suite = next((s for s in suites if s.name == gate.metric.partition("/")[0]), None)
    rule, bound = _rule(gate)
    fault = _fault(gate.metric, metric, suite, suites, max_unscored_fraction)
    if fault or metric is None:
        return GateResult(
            metric=gate.metric, rule=rule, bound=bound, verdict="Error", message=fault,
            value=metric.value if metric and math.isfinite(metric.value) else None,
        )  # fmt: skip
    verdict, message = (
        compare(metric, bound, comparison, max_unscored_fraction=max_unscored_fraction)
        if rule == "notWorseThanBaseline"
        else judge(metric, rule, bound)
    )
    return GateResult(
        metric=gate.metric, rule=rule, bound=bound, verdict=verdict, value=metric.value, low=metric.low,
        high=metric.high, message=message,
        difference=comparison.difference if comparison and verdict != "Error" else None,
    )  # fmt: skip


def compare(
    metric: MetricValue, margin: float, comparison: Comparison | None, *, max_unscored_fraction: float
) -> Judgement:
    """Compare a metric with the baseline's: it may be worse by `margin`, in the metric's own unit."""
    name = f"{metric.suite}/{metric.metric}"
    if comparison is None:
        return Judgement("Error", f"{name} has no baseline to be compared with")
    if comparison.missing:
        verdict: Verdict = "Passed" if comparison.when_missing == "pass" else "Failed"
        words = f"{name} was compared with nothing: {comparison.missing}; whenMissing is {comparison.when_missing}"
        return Judgement(verdict, words)
    fault = _unfit(name, metric, comparison, max_unscored_fraction)
    if fault or comparison.difference is None:
        return Judgement("Error", fault)
    return judge_difference(name, comparison.baseline, comparison.difference, margin)


def judge_difference(name: str, baseline: str, found: Difference, margin: float) -> Judgement:
    """Compare the interval of a paired difference with the margin; `name` is `suite/metric`."""
    words = f"{name} is {found.target:.6g}, {found.value:+.4g} against {baseline}"
    asked = f"at most {margin:g} worse was asked for"
    if found.low is None or found.high is None:
        return Judgement("Inconclusive", f"{words} on {found.items} documents: too few for an interval")
    words += f" ({found.low:+.4g} to {found.high:+.4g} at {found.confidence:.4g}, {_paired(found)}); {asked}"
    least, most = found.low, found.high  # how much worse it is
    if name.partition("/")[2] in HIGHER_IS_BETTER:
        least, most = -most, -least
    if most <= margin:
        return Judgement("Passed", words)
    if least > margin:
        return Judgement("Failed", words)
    return Judgement("Inconclusive", f"{words}: the margin lies within the interval; more documents would decide")


def _paired(found: Difference) -> str:
    alone = f", {found.unpaired} scored by one of the two only" if found.unpaired else ""
    return f"{found.items} documents{alone}"


def _unfit(name: str, metric: MetricValue, comparison: Comparison, max_unscored_fraction: float) -> str:
    """Why a comparison cannot be judged; empty when it can."""
    found = comparison.difference
    if found is None:
        why = f": {comparison.baseline}: {comparison.message}" if comparison.message else ""
        return f"no document of suite {metric.suite} was scored by both models{why}"
    if metric.metric in PER_TOKEN and not comparison.same_tokens:
        return (
            f"{name} is per token, and the tokenizer of {comparison.baseline} cuts the text otherwise: "
            f"compare {metric.suite}/bits_per_byte, which does not depend on it"
        )
    if found.unpaired > max_unscored_fraction * (found.items + found.unpaired):
        return (
            f"{found.unpaired} of {found.items + found.unpaired} documents of suite {metric.suite} were scored by one "
            f"of the two models only; at most {max_unscored_fraction:.2%} may be"
        )
    if not _finite(found.target, found.baseline, found.value, found.low, found.high):
        return f"the difference of {name} to {comparison.baseline} is not a finite number"
    return ""


def _finite(*values: float | None) -> bool:
    return all(value is None or math.isfinite(value) for value in values)


def judge(metric: MetricValue, rule: str, bound: float) -> Judgement:
    """Compare a metric's interval with a bound; rule is atMost or atLeast. The message is empty when it passed."""
    name = f"{metric.suite}/{metric.metric} is {metric.value:.6g}"
    if metric.low is None or metric.high is None:
        return Judgement("Inconclusive", f"{name} from {metric.items} documents: too few for an interval")
    better, worse = (metric.low, metric.high) if rule == "atMost" else (metric.high, metric.low)
    words = f"{name} ({metric.low:.6g} to {metric.high:.6g}), {'at most' if rule == 'atMost' else 'at least'} {bound:g}"
    sign = 1 if rule == "atMost" else -1
    if sign * worse <= sign * bound:
        return Judgement("Passed", "")
    if sign * better > sign * bound:
        return Judgement("Failed", f"{words} was asked for")
    return Judgement(
        "Inconclusive", f"{words} was asked for: the bound lies within the interval; more documents would decide"
    )


def _rule(gate: GateSpec) -> tuple[str, float]:
    if gate.at_most is not None:
        return "atMost", gate.at_most
    if gate.at_least is not None:
        return "atLeast", gate.at_least
    return "notWorseThanBaseline", gate.not_worse_than_baseline.margin if gate.not_worse_than_baseline else 0.0


def _fault(
    name: str,
    metric: MetricValue | None,
    suite: SuiteResult | None,
    suites: Sequence[SuiteResult],
    max_unscored_fraction: float,
) -> str:
    """Why there is nothing to judge; empty when there is."""
    if suite is None:
        return f"there is no suite for {name}; the suites are: {', '.join(s.name for s in suites) or 'none'}"
    if suite.items == 0:
        return suite.message or f"suite {suite.name} scored no documents"
    if metric is None:
        return (
            f"there is no metric {name}; the metrics are: {', '.join(f'{m.suite}/{m.metric}' for m in suite.metrics)}"
        )
    # what holds no text (HARMLESS) is counted, but is no reason to doubt the rest
    counted = suite.unscored - sum(suite.unscored_reasons.get(reason, 0) for reason in HARMLESS)
    if counted > max_unscored_fraction * (suite.items + counted):
        return (
            f"{counted} of {suite.items + counted} documents of suite {suite.name} could not be scored "
            f"({reasons_in_words(suite.unscored_reasons)}); at most {max_unscored_fraction:.2%} may be"
        )
    if not _finite(metric.value, metric.low, metric.high):
        return f"{name} is not a finite number"
    return ""


def reasons_in_words(reasons: Mapping[str, int]) -> str:
    """`2 broken_json, 1 too_long`."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
