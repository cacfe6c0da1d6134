"""The training run in pictures: curves over the step, and where a step's time went. Pure: the run's metrics in."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelyard.report.charts import LineChart, Point, Series, finite, line_chart, smooth, steady
from modelyard.report.curves import Curves
from modelyard.report.words import duration, figure, number

BESIDE = {"checkpointSeconds", "validationSeconds"}  # told with a step, but not part of its stepSeconds


@dataclass(frozen=True)
class Drawn:
    """A chart with its heading; `legend` pairs a name with the class that colours it."""

    title: str
    caption: str
    legend: tuple[tuple[str, str], ...]
    svg: Markup


@dataclass(frozen=True)
class TimePart:
    """A part of the step: its share of all time, the median and the 95th percentile of a step, in words."""

    name: str
    look: str
    share: float
    total: str
    median: str
    high: str


@dataclass(frozen=True)
class TrainingView:
    """What the page shows of training; `table` is (step, training loss smoothed, validation loss, learning rate)."""

    loss: Drawn
    small: tuple[Drawn, ...]
    parts: tuple[TimePart, ...]
    table: tuple[tuple[str, str, str, str], ...]


def training_view(curves: Curves) -> TrainingView | None:
    """The view, or None when no step was recorded."""
    if not points(curves, "loss"):
        return None
    breaks = attempt_breaks(curves)
    small = (
        _drawn(curves, "learningRate", "Learning rate", "by schedule, after warm-up", breaks, from_zero=True),
        _drawn(curves, "gradNorm", "Gradient norm", "before clipping, over all parameters", breaks, from_zero=True),
        _drawn(
            curves, "tokensPerSecond", "Throughput", "training tokens per second, all workers", breaks, from_zero=True
        ),
        _drawn(curves, "stepSeconds", "Step time", "seconds per optimizer step", breaks, from_zero=True),
    )
    return TrainingView(_loss(curves, breaks), tuple(d for d in small if d.svg), time_parts(curves), loss_table(curves))


def points(curves: Curves, key: str) -> tuple[Point, ...]:
    """(step, value) of every step that has a finite number under `key`."""
    return finite(zip(curves.steps, curves.column(key), strict=True))


def attempt_breaks(curves: Curves) -> tuple[tuple[float, str], ...]:
    """The steps at which another attempt went on."""
    return tuple(
        (step, f"attempt {new}")
        for (_, old), (step, new) in itertools.pairwise(zip(curves.steps, curves.attempts, strict=True))
        if old != new
    )


def time_parts(curves: Curves) -> tuple[TimePart, ...]:
    """Each `…Seconds` of the steps; what `stepSeconds` has beyond the parts inside it is `other`. Largest first."""
    keys = [key for key in curves.keys if key.endswith("Seconds") and key != "stepSeconds"]
    spans = {key: [value for _, value in points(curves, key)] for key in keys}
    rest = _rest(curves, [key for key in keys if key not in BESIDE])
    if not rest or not keys:
        return ()
    whole = sum(map(sum, spans.values())) + sum(rest)
    if sum(rest) > 0.005 * whole:
        spans["other"] = rest
    ordered = sorted(((key, values) for key, values in spans.items() if sum(values)), key=lambda s: -sum(s[1]))
    return tuple(_part(i, key, values, whole) for i, (key, values) in enumerate(ordered))


def _rest(curves: Curves, inside: Sequence[str]) -> list[float]:
    """What each timed step took beyond the parts inside it."""
    steps = zip(curves.column("stepSeconds"), *map(curves.column, inside), strict=True)
    return [
        max(0.0, took - sum(part for part in parts if math.isfinite(part)))
        for took, *parts in steps
        if math.isfinite(took)
    ]


def loss_table(curves: Curves, lines: int = 12) -> tuple[tuple[str, str, str, str], ...]:
    """The loss curve as numbers: the steps with a validation loss, else evenly spread steps, at most `lines`."""
    smoothed = dict(smooth(points(curves, "loss")))
    validation, rates = dict(points(curves, "validationLoss")), dict(points(curves, "learningRate"))
    steps = sorted(validation) or sorted(smoothed)
    kept = steps if len(steps) <= lines else [steps[round(i * (len(steps) - 1) / (lines - 1))] for i in range(lines)]

    def cell(values: dict[float, float], step: float, digits: int) -> str:
        return figure(values[step], digits) if step in values else "–"

    return tuple((str(int(s)), cell(smoothed, s, 4), cell(validation, s, 4), cell(rates, s, 3)) for s in kept)


def _loss(curves: Curves, breaks: tuple[tuple[float, str], ...]) -> Drawn:
    raw, validation = points(curves, "loss"), points(curves, "validationLoss")
    series = [Series("training, each step", "raw", raw), Series("training, smoothed", "train", smooth(raw))]
    if validation:
        series.append(Series("validation", "validation", validation, dots=True))
    chart = LineChart("Loss", tuple(series), breaks, wide=True)
    return Drawn("Loss", "nats per token", tuple((s.name, s.look) for s in series), line_chart(chart))


def _drawn(
    curves: Curves, key: str, title: str, caption: str, breaks: tuple[tuple[float, str], ...], *, from_zero: bool
) -> Drawn:
    series = points(curves, key)
    lines = [Series(title.lower(), "train", series)]
    if key in ("tokensPerSecond", "stepSeconds") and len(series) > 20:
        lines = [Series("each step", "raw", series), Series("median", "train", steady(series))]
    elif key == "gradNorm" and len(series) > 20:
        lines = [Series("each step", "raw", series), Series("smoothed", "train", smooth(series))]
    svg = line_chart(LineChart(title, tuple(lines), breaks, from_zero=from_zero))
    return Drawn(title, f"{caption}; last {number(series[-1][1])}" if series else caption, (), svg)


def _part(index: int, key: str, values: Sequence[float], whole: float) -> TimePart:
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return TimePart(
        name=_spoken(key),
        look=f"part{index % 6}",
        share=sum(values) / whole,
        total=duration(sum(values)),
        median=_milliseconds(statistics.median(ordered)),
        high=_milliseconds(high),
    )


def _milliseconds(seconds: float) -> str:
    return f"{figure(seconds * 1000, 3)} ms"


def _spoken(key: str) -> str:
    words = re.sub(r"(?<!^)([A-Z])", r" \1", key.removesuffix("Seconds")).lower()
    return {"forward backward": "forward and backward", "wait": "waiting for other workers"}.get(words, words)
