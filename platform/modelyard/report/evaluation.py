"""What the evaluation found: numbers with intervals beside their references, and each gate's reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

from modelyard.records import EvaluationRecord, GateResult, MetricValue, SuiteResult
from modelyard.report.charts import padded, ticks
from modelyard.report.words import count, figure, number, short

BITS = "bits_per_byte"


@dataclass(frozen=True)
class MetricLine:
    """A metric in words."""

    name: str
    value: str
    interval: str
    note: str


@dataclass(frozen=True)
class SuiteView:
    """One suite: its metrics, and bits per byte drawn beside the references when it has them."""

    name: str
    task: str
    items: str
    metrics: tuple[MetricLine, ...]
    plot: Markup


@dataclass(frozen=True)
class GateView:
    """A gate in words."""

    metric: str
    rule: str
    value: str
    verdict: str
    message: str


@dataclass(frozen=True)
class EvaluationView:
    """The verdict over all gates (empty without gates), what it was compared with, the suites and the gates."""

    verdict: str
    baseline: str
    suites: tuple[SuiteView, ...]
    gates: tuple[GateView, ...]


def evaluation_view(record: EvaluationRecord | None) -> EvaluationView | None:
    """The view, or None when nothing was evaluated."""
    if record is None:
        return None
    suites = tuple(_suite(suite, _baseline_values(record, suite.name)) for suite in record.suites)
    return EvaluationView(record.verdict or "", _baseline_words(record), suites, tuple(map(_gate, record.gates)))


def _baseline_words(record: EvaluationRecord) -> str:
    """What it was compared with, in a sentence; empty when with nothing."""
    baseline = record.baseline
    if baseline is None:
        return ""
    if baseline.missing:
        return f"Compared with nothing: {baseline.missing}."
    return f"Compared with {baseline.model} (sha256 {short(baseline.model_digest)}), document by document."


def _baseline_values(record: EvaluationRecord, suite: str) -> dict[str, dict[str, float]]:
    """By metric, the baseline's value under the name by which it is shown."""
    baseline = record.baseline
    found = next((one for one in baseline.suites if one.name == suite), None) if baseline else None
    return {} if found is None else {metric.metric: {"baseline": metric.value} for metric in found.metrics}


def headline(record: EvaluationRecord | None) -> tuple[MetricValue, dict[str, float]] | None:
    """Bits per byte of the first suite that has it, with its references."""
    for suite in record.suites if record else ():
        for metric in suite.metrics:
            if metric.metric == BITS:
                return metric, references(suite, BITS)
    return None


def references(suite: SuiteResult, metric: str) -> dict[str, float]:
    """The suite's references for a metric, by spoken name: `unigram_bits_per_byte` is unigram's bits per byte."""
    ours = {name: value for name, value in suite.references.items() if name.endswith(metric)}
    return {name.removesuffix(metric).strip("_/") or "reference": value for name, value in ours.items()}


def _suite(suite: SuiteResult, baseline: dict[str, dict[str, float]]) -> SuiteView:
    items = count(suite.items) + " scored" + (f", {count(suite.unscored)} unscored" if suite.unscored else "")
    bits = next((m for m in suite.metrics if m.metric == BITS), None)
    beside = {name: references(suite, name) | baseline.get(name, {}) for name in (m.metric for m in suite.metrics)}
    plot = interval_plot(bits, beside[BITS]) if bits else Markup("")
    return SuiteView(suite.name, suite.task, items, tuple(_metric(m, beside[m.metric]) for m in suite.metrics), plot)


def _metric(metric: MetricValue, others: dict[str, float]) -> MetricLine:
    beside = [
        f"{name} {figure(value)} ({(metric.value - value) / value:+.1%})" for name, value in others.items() if value
    ]
    return MetricLine(metric.metric.replace("_", " "), figure(metric.value), interval(metric), ", ".join(beside))


def interval(metric: MetricValue | GateResult) -> str:
    """`2.238 to 2.301`, or nothing when none was computed."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{figure(metric.low)} to {figure(metric.high)}"


def _gate(gate: GateResult) -> GateView:
    value = "–" if gate.value is None else figure(gate.value)
    spoken = {
        "atMost": "at most",
        "atLeast": "at least",
        "notWorseThanBaseline": "not worse than the baseline by more than",
    }
    return GateView(
        gate.metric, f"{spoken.get(gate.rule, gate.rule)} {number(gate.bound)}", value, gate.verdict, gate.message
    )


def interval_plot(metric: MetricValue, beside: dict[str, float]) -> Markup:
    """The model's value with its interval on one axis with the references, one row each."""
    rows = [("this model", metric.value, metric.low, metric.high)]
    rows += [(name, value, None, None) for name, value in sorted(beside.items(), key=lambda r: r[1])]
    if len(rows) == 1:
        return Markup("")
    values = [v for _, value, low, high in rows for v in (value, low, high) if v is not None]
    span = padded(min(values), max(values))
    height = 34 * len(rows) + 34
    body = "".join(_axis(span, height)) + "".join(_mark(i, row, span) for i, row in enumerate(rows))
    label = "; ".join(f"{name} {figure(value)}" for name, value, _, _ in rows)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 920 {h}" aria-label="Bits per byte: {label}">{body}</svg>'
    ).format(h=height, label=label, body=Markup(body))


def _x(value: float, span: tuple[float, float]) -> float:
    return 150 + (value - span[0]) / (span[1] - span[0]) * 690


def _axis(span: tuple[float, float], height: int) -> list[str]:
    floor = height - 26
    return [
        f'<line class="grid" x1="{_x(m, span):.1f}" x2="{_x(m, span):.1f}" y1="4" y2="{floor}"/>'
        f'<text class="tick" x="{_x(m, span):.1f}" y="{floor + 18}" text-anchor="middle">{number(m)}</text>'
        for m in ticks(*span, 6)
    ]


def _mark(index: int, row: tuple[str, float, float | None, float | None], span: tuple[float, float]) -> str:
    name, value, low, high = row
    y, x = 22 + 34 * index, _x(value, span)
    look = "model" if index == 0 else "reference"
    end = _x(high, span) if high is not None else x
    bar = ""
    if low is not None and high is not None:
        bar = f'<line class="bar" x1="{_x(low, span):.1f}" x2="{end:.1f}" y1="{y}" y2="{y}"/>'
    return (
        f'<g class="interval {look}"><text x="138" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        f'{bar}<circle cx="{x:.1f}" cy="{y}" r="5.5"/>'
        f'<text x="{end + 12:.1f}" y="{y + 4}">{figure(value)}</text></g>'
    )
