"""Series of numbers as SVG, drawn by hand so that report.html needs nothing from anywhere.

Pure: points in, markup out. Colours, fonts and the dark theme are the page's (style.css) by class name; the
script of the page (page.js) only adds the reading under the pointer, from the `data-series` written here.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from modelyard.report.words import number

Point = tuple[float, float]
MAX_POINTS = 480  # about two per pixel column that a reader's screen gives a chart; more only makes the file large


@dataclass(frozen=True)
class Series:
    """One line. `look` is a class of style.css; `dots` marks each point (few, far apart: validation)."""

    name: str
    look: str
    points: tuple[Point, ...]
    dots: bool = False


@dataclass(frozen=True)
class LineChart:
    """Lines over the training step. `breaks` are (step, words): where another attempt went on."""

    title: str
    series: tuple[Series, ...]
    breaks: tuple[tuple[float, str], ...] = ()
    from_zero: bool = False
    wide: bool = False


@dataclass(frozen=True)
class _Frame:
    """The plotting rectangle inside the drawing and the ranges that it shows."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 54
    right: float = 12
    top: float = 10
    bottom: float = 30

    def px(self, x: float) -> float:
        low, high = self.x
        return self.left + (x - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def py(self, y: float) -> float:
        low, high = self.y
        return self.height - self.bottom - (y - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)


def line_chart(chart: LineChart) -> Markup:
    """The chart as one `<svg>`; empty markup when no series has a finite point."""
    series = [Series(s.name, s.look, thin(finite(s.points)), s.dots) for s in chart.series]
    series = [s for s in series if s.points]
    if not series:
        return Markup("")
    frame = _frame(chart, series)
    body = [*_grid(frame), *_breaks(frame, chart.breaks), *(_line(frame, s) for s in series), _cursor(frame)]
    return _svg(chart, frame, series, body)


def smooth(points: Sequence[Point], *, share: float = 0.05) -> tuple[Point, ...]:
    """A centred moving mean over about `share` of the points (at least 9), narrower at the ends: it does not lag."""
    known = finite(points)
    reach = max(4, round(share * len(known) / 2))
    sums = list(itertools.accumulate((y for _, y in known), initial=0.0))
    out = []
    for i, (x, _) in enumerate(known):
        side = min(reach, i, len(known) - 1 - i)
        out.append((x, (sums[i + side + 1] - sums[i - side]) / (2 * side + 1)))
    return tuple(out)


def steady(points: Sequence[Point], *, reach: int = 12) -> tuple[Point, ...]:
    """A centred moving median, narrower at the ends: what a quantity usually is, whatever its spikes."""
    known = finite(points)
    values = [y for _, y in known]
    sides = (min(reach, i, len(known) - 1 - i) for i in range(len(known)))
    return tuple((known[i][0], sorted(values[i - side : i + side + 1])[side]) for i, side in enumerate(sides))


def finite(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that can be drawn."""
    return tuple((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y))


def thin(points: Sequence[Point], limit: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most `limit` points: of each bucket the lowest and the highest, so that no spike is lost."""
    if len(points) <= limit:
        return tuple(points)
    buckets, out = limit // 2, []
    for i in range(buckets):
        part = points[i * len(points) // buckets : (i + 1) * len(points) // buckets]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        out += sorted(ends)
    return tuple(out)


def ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Round numbers (steps of 1, 2, 2.5 or 5 times a power of ten) within [low, high], about so many."""
    if not high > low:
        return (low,)
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def padded(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """A range with a margin, never empty."""
    margin = share * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _frame(chart: LineChart, series: Sequence[Series]) -> _Frame:
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in s.points]
    low, high = padded(min(ys), max(ys))
    width, height = (920, 300) if chart.wide else (450, 210)
    return _Frame(width, height, (min(xs), max(xs)), (0.0 if chart.from_zero and min(ys) >= 0 else low, high))


def _grid(frame: _Frame) -> list[str]:
    right, floor = frame.width - frame.right, frame.height - frame.bottom
    out = []
    for y in ticks(*frame.y, 6 if frame.width > 600 else 4):
        at = frame.py(y)
        out.append(f'<line class="grid" x1="{frame.left:.1f}" x2="{right:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>')
        out.append(f'<text class="tick" x="{frame.left - 8:.1f}" y="{at + 4:.1f}" text-anchor="end">{number(y)}</text>')
    out.append(f'<line class="axis" x1="{frame.left:.1f}" x2="{right:.1f}" y1="{floor:.1f}" y2="{floor:.1f}"/>')
    for x in ticks(*frame.x, 6 if frame.width > 600 else 4):
        if frame.x[0] <= x <= frame.x[1]:
            at = frame.px(x)
            out.append(f'<text class="tick" x="{at:.1f}" y="{floor + 18:.1f}" text-anchor="middle">{number(x)}</text>')
    return out


def _breaks(frame: _Frame, breaks: Sequence[tuple[float, str]]) -> list[str]:
    out, wide = [], frame.width > 600
    for x, words in breaks:
        if frame.x[0] <= x <= frame.x[1]:
            at, floor = frame.px(x), frame.height - frame.bottom
            out.append(
                f'<g class="break"><title>{escape(words)}</title>'
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{frame.top:.1f}" y2="{floor:.1f}"/>'
                + (f'<text x="{at + 5:.1f}" y="{frame.top + 12:.1f}">{escape(words)}</text></g>' if wide else "</g>")
            )
    return out


def _line(frame: _Frame, series: Series) -> str:
    spots = [(frame.px(x), frame.py(y)) for x, y in series.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in spots) if series.dots else ""
    return f'<g class="line {escape(series.look)}"><path d="{path}"/>{dots}</g>'


def _cursor(frame: _Frame) -> str:
    return f'<line class="cursor" y1="{frame.top:.1f}" y2="{frame.height - frame.bottom:.1f}" x1="-9" x2="-9"/>'


def _svg(chart: LineChart, frame: _Frame, series: Sequence[Series], body: Sequence[str]) -> Markup:
    told = [
        {"name": s.name, "look": s.look, "points": [[x, float(f"{y:.5g}"), round(frame.px(x), 1)] for x, y in s.points]}
        for s in series
    ]
    return Markup(
        '<svg class="chart{wide}" role="img" viewBox="0 0 {w} {h}" data-series="{told}" aria-label="{label}">'
        "{body}</svg>"
    ).format(
        wide=" wide" if chart.wide else "",
        w=int(frame.width),
        h=int(frame.height),
        told=json.dumps(told, separators=(",", ":")),
        label=describe(chart.title, series),
        body=Markup("".join(body)),
    )


def describe(title: str, series: Sequence[Series]) -> str:
    """The chart in words, for those who do not see it."""
    parts = [
        f"{s.name} from {number(s.points[0][1])} at step {number(s.points[0][0])} "
        f"to {number(s.points[-1][1])} at step {number(s.points[-1][0])}"
        for s in series
    ]
    return f"{title}: {'; '.join(parts)}"
