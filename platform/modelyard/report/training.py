"""The training run in pictures: curves over the step, and where a step's time went. Pure: rows of metrics.jsonl in."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelyard.report.charts import LineChart, Point, Series, finite, line_chart, smooth, steady
from modelyard.report.gather import Row
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


def training_view(rows: Sequence[Row]) -> TrainingView | None:
    """The view, or None when no step was recorded."""
    if not points(rows, "loss"):
        return None
    breaks = attempt_breaks(rows)
    small = (
        _drawn(rows, "learningRate", "Learning rate", "by schedule, after warm-up", breaks, from_zero=True),
        _drawn(rows, "gradNorm", "Gradient norm", "before clipping, over all parameters", breaks, from_zero=True),
        _drawn(
            rows, "tokensPerSecond", "Throughput", "training tokens per second, all workers", breaks, from_zero=True
        ),
        _drawn(rows, "stepSeconds", "Step time", "seconds per optimizer step", breaks, from_zero=True),
    )
    return TrainingView(_loss(rows, breaks), tuple(d for d in small if d.svg), time_parts(rows), loss_table(rows))


def points(rows: Sequence[Row], key: str) -> tuple[Point, ...]:
    """(step, value) of every row that has a finite number under `key`."""
    return finite([(row["step"], row[key]) for row in rows if _is_number(row.get(key))])


def attempt_breaks(rows: Sequence[Row]) -> tuple[tuple[float, str], ...]:
    """The steps at which another attempt went on."""
    return tuple(
        (new["step"], f"attempt {new['attempt']}")
        for old, new in itertools.pairwise(rows)
        if old.get("attempt") != new.get("attempt") and new.get("attempt") is not None
    )


def time_parts(rows: Sequence[Row]) -> tuple[TimePart, ...]:
    """Each `…Seconds` of the rows; what `stepSeconds` has beyond the parts inside it is `other`. Largest first."""
    keys = sorted({key for row in rows for key in row if key.endswith("Seconds")} - {"stepSeconds"})
    spans = {key: [value for _, value in points(rows, key)] for key in keys}
    inside = [key for key in keys if key not in BESIDE]
    timed = [row for row in rows if _is_number(row.get("stepSeconds"))]
    if not timed or not keys:
        return ()
    rest = [max(0.0, row["stepSeconds"] - sum(row.get(key) or 0.0 for key in inside)) for row in timed]
    whole = sum(map(sum, spans.values())) + sum(rest)
    if sum(rest) > 0.005 * whole:
        spans["other"] = rest
    ordered = sorted(((key, values) for key, values in spans.items() if sum(values)), key=lambda s: -sum(s[1]))
    return tuple(_part(i, key, values, whole) for i, (key, values) in enumerate(ordered))


def loss_table(rows: Sequence[Row], lines: int = 12) -> tuple[tuple[str, str, str, str], ...]:
    """The loss curve as numbers: the steps with a validation loss, else evenly spread steps, at most `lines`."""
    smoothed = dict(smooth(points(rows, "loss")))
    validation, rates = dict(points(rows, "validationLoss")), dict(points(rows, "learningRate"))
    steps = sorted(validation) or sorted(smoothed)
    kept = steps if len(steps) <= lines else [steps[round(i * (len(steps) - 1) / (lines - 1))] for i in range(lines)]

    def cell(values: dict[float, float], step: float, digits: int) -> str:
        return figure(values[step], digits) if step in values else "–"

    return tuple((str(int(s)), cell(smoothed, s, 4), cell(validation, s, 4), cell(rates, s, 3)) for s in kept)


def _loss(rows: Sequence[Row], breaks: tuple[tuple[float, str], ...]) -> Drawn:
    raw, validation = points(rows, "loss"), points(rows, "validationLoss")
    series = [Series("training, each step", "raw", raw), Series("training, smoothed", "train", smooth(raw))]
    if validation:
        series.append(Series("validation", "validation", validation, dots=True))
    chart = LineChart("Loss", tuple(series), breaks, wide=True)
    return Drawn("Loss", "nats per token", tuple((s.name, s.look) for s in series), line_chart(chart))


def _drawn(
    rows: Sequence[Row], key: str, title: str, caption: str, breaks: tuple[tuple[float, str], ...], *, from_zero: bool
) -> Drawn:
    series = points(rows, key)
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
