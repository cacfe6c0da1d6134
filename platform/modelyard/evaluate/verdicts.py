"""From metrics and gates to verdicts: pure, and never from a bare number.

A gate looks at the metric's 95 % interval. `Passed`: the interval's worse end meets the bound. `Failed`: even its
better end does not. `Inconclusive`: the bound lies within the interval, or there are too few items for one.
`Error`: there is nothing to judge: no such metric, nothing scored, too much unscored, not a finite number.
Over several gates the worst counts: Error, then Failed, then Inconclusive, then Passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelyard.data.documents import HARMLESS
from modelyard.records import GateResult, MetricValue, SuiteResult, Verdict

if TYPE_CHECKING:
    from modelyard.spec import GateSpec

WORST_FIRST: tuple[Verdict, ...] = ("Error", "Failed", "Inconclusive", "Passed")
MAX_UNSCORED_FRACTION = 0.01  # above it the items left are no longer the suite: chosen by feel


def combine(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict over several: the worst of them; None when there are none."""
    given = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in given), None)


def decide(
    gate: GateSpec, suites: Sequence[SuiteResult], *, max_unscored_fraction: float = MAX_UNSCORED_FRACTION
) -> GateResult:
    """One gate's verdict with the numbers and, unless it passed, the reason in words."""
    metric = next((m for s in suites for m in s.metrics if f"{m.suite}/{m.metric}" == gate.metric), None)
    suite = next((s for s in suites if s.name == gate.metric.partition("/")[0]), None)
    rule, bound = _rule(gate)
    fault = _fault(gate.metric, metric, suite, suites, max_unscored_fraction)
    if rule == "notWorseThanBaseline":
        fault = "comparisons with a baseline are not built yet"
    if fault or metric is None:
        return GateResult(
            metric=gate.metric, rule=rule, bound=bound, verdict="Error", message=fault,
            value=metric.value if metric and math.isfinite(metric.value) else None,
        )  # fmt: skip
    verdict, message = judge(metric, rule, bound)
    return GateResult(
        metric=gate.metric, rule=rule, bound=bound, verdict=verdict, value=metric.value, low=metric.low,
        high=metric.high, message=message,
    )  # fmt: skip


def judge(metric: MetricValue, rule: str, bound: float) -> tuple[Verdict, str]:
    """Compare a metric's interval with a bound; rule is atMost or atLeast. The message is empty when it passed."""
    name = f"{metric.suite}/{metric.metric} is {metric.value:.6g}"
    if metric.low is None or metric.high is None:
        return "Inconclusive", f"{name} from {metric.items} documents: too few for an interval"
    better, worse = (metric.low, metric.high) if rule == "atMost" else (metric.high, metric.low)
    words = f"{name} ({metric.low:.6g} to {metric.high:.6g}), {'at most' if rule == 'atMost' else 'at least'} {bound:g}"
    sign = 1 if rule == "atMost" else -1
    if sign * worse <= sign * bound:
        return "Passed", ""
    if sign * better > sign * bound:
        return "Failed", f"{words} was asked for"
    return "Inconclusive", f"{words} was asked for: the bound lies within the interval; more documents would decide"


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
    if not all(math.isfinite(value) for value in (metric.value, metric.low or 0.0, metric.high or 0.0)):
        return f"{name} is not a finite number"
    return ""


def reasons_in_words(reasons: Mapping[str, int]) -> str:
    """`2 broken_json, 1 too_long`."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
