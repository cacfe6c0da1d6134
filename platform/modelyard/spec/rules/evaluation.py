"""Rules of suites and gates, wherever they stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from modelyard.spec.documents import Location
from modelyard.spec.evaluations import GateSpec, SuiteSpec
from modelyard.spec.rules.data import check_sources
from modelyard.spec.rules.objections import Objection, exactly_one, repeated
from modelyard.spec.wording import listing, nearest

# The metrics of each task with the range of their values.
METRICS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "perplexity": {
        "perplexity": (1.0, math.inf),
        "bits_per_byte": (0.0, math.inf),
        "token_accuracy": (0.0, 1.0),
    }
}
RESERVED_SUITES = ("train", "validation")


def check_suites(suites: Sequence[SuiteSpec], place: Location, *, fallback: bool, instead: str) -> Iterator[Objection]:
    """Suites are well named and have documents: their own, or the job's validation documents (`fallback`)."""
    for index, suite in enumerate(suites):
        here = (*place, index)
        if suite.name in RESERVED_SUITES:
            yield Objection(
                (*here, "name"), f'is "{suite.name}", which names a split of the data', "call it heldout, say"
            )
        if not suite.sources and not fallback:
            yield Objection(here, "has no documents", f"add sources: [{{name: …, path: …}}]{instead}")
        yield from check_sources(suite.sources, (*here, "sources"), once=True)
    yield from repeated([suite.name for suite in suites], place)


def check_gates(
    gates: Sequence[GateSpec], suites: Sequence[SuiteSpec], place: Location, *, baseline: str = ""
) -> Iterator[Objection]:
    """Every gate bounds a metric that a suite gives, in one way, by a value that can be reached and missed.

    `baseline` says how one gets what a gate may compare with; empty when there is one.
    """
    for index, gate in enumerate(gates):
        here = (*place, index)
        bounds = {
            "atMost": gate.at_most,
            "atLeast": gate.at_least,
            "notWorseThanBaseline": gate.not_worse_than_baseline,
        }
        yield from exactly_one(bounds, here)
        if gate.not_worse_than_baseline is not None and baseline:
            yield Objection((*here, "notWorseThanBaseline"), "has no baseline to compare with", baseline, True)
        span = _metric(gate.metric, suites)
        if isinstance(span, str):
            yield Objection((*here, "metric"), f'is "{gate.metric}": {span}', _metric_fix(gate.metric, suites))
        else:
            yield from _check_bounds(gate, span, here)


def _metric(metric: str, suites: Sequence[SuiteSpec]) -> tuple[float, float] | str:
    name, slash, measure = metric.partition("/")
    if not slash:
        return "a metric is named suite/metric"
    suite = next((suite for suite in suites if suite.name == name), None)
    if suite is None:
        return f"there is no suite {name}"
    return METRICS[suite.task].get(measure) or f"the task {suite.task} has no metric {measure}"


def _metric_fix(metric: str, suites: Sequence[SuiteSpec]) -> str:
    name, _, measure = metric.partition("/")
    if not suites:
        return "add a suite under suites"
    suite = next((suite for suite in suites if suite.name == name), None)
    if suite is not None:
        near = nearest(measure, METRICS[suite.task])
        return f"did you mean {name}/{near}?" if near else f"it has {', '.join(METRICS[suite.task])}"
    known = [f"{suite.name}/{measure}" for suite in suites for measure in METRICS[suite.task]]
    near = nearest(metric, known)
    return f"did you mean {near}?" if near else f"known: {listing(known)}"


def _check_bounds(gate: GateSpec, span: tuple[float, float], place: Location) -> Iterator[Objection]:
    low, high = span
    words = f"between {low:g} and {high:g}" if math.isfinite(high) else f"{low:g} or more"
    for name, bound in (("atMost", gate.at_most), ("atLeast", gate.at_least)):
        if bound is not None and not low <= bound <= high:
            yield Objection(
                (*place, name), f"is {bound:g}, but {gate.metric} is always {words}", "write a value it can have"
            )
