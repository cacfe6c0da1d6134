from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.report.charts import LineChart, Series, line_chart, padded, smooth, steady, thin, ticks

finite_numbers = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 480.0, (0.0, 100.0, 200.0, 300.0, 400.0)),
        (3.7, 8.6, (4.0, 5.0, 6.0, 7.0, 8.0)),
        (0.0, 0.004, (0.0, 0.001, 0.002, 0.003, 0.004)),
        (5.0, 5.0, (5.0,)),
        (-1.0, 1.0, (-1.0, -0.5, 0.0, 0.5, 1.0)),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks(low, high) == expected


@given(finite_numbers, st.floats(1e-3, 1e6))
def test_ticks_never_leave_the_range(low: float, span: float) -> None:
    slack = 1e-6 * max(1.0, abs(low), span)
    assert all(low - slack <= tick <= low + span + slack for tick in ticks(low, low + span))


def test_thinning_keeps_the_ends_of_every_spike() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[1234] = (1234.0, 99.0)
    points[4321] = (4321.0, -99.0)
    kept = thin(points)
    assert len(kept) <= 480
    assert {(1234.0, 99.0), (4321.0, -99.0)} <= set(kept)
    assert list(kept) == sorted(kept)


@given(st.lists(finite_numbers, min_size=1, max_size=60), finite_numbers)
def test_a_constant_is_its_own_mean_and_median(xs: list[float], value: float) -> None:
    points = [(x, value) for x in sorted(xs)]
    assert all(math.isclose(y, value, rel_tol=1e-9, abs_tol=1e-6) for _, y in smooth(points))
    assert all(y == value for _, y in steady(points))


def test_a_straight_line_is_not_bent_by_smoothing() -> None:
    points = [(float(i), 2.0 * i) for i in range(100)]
    assert all(math.isclose(y, 2 * x, abs_tol=1e-9) for x, y in smooth(points))


def test_a_spike_does_not_move_the_median() -> None:
    points = [(float(i), 50.0 if i == 40 else 1.0) for i in range(80)]
    assert all(y == 1.0 for _, y in steady(points))


def test_what_is_not_finite_is_left_out() -> None:
    chart = LineChart("Loss", (Series("loss", "train", ((1.0, 2.0), (2.0, math.nan), (3.0, math.inf), (4.0, 1.0))),))
    svg = line_chart(chart)
    assert "nan" not in svg.lower()
    assert "inf" not in svg.lower()
    assert "Loss: loss from 2 at step 1 to 1 at step 4" in svg


def test_nothing_to_draw_draws_nothing() -> None:
    assert line_chart(LineChart("Loss", (Series("loss", "train", ()),))) == ""
    assert line_chart(LineChart("Loss", (Series("loss", "train", ((1.0, math.nan),)),))) == ""


def test_one_point_is_drawn_inside_the_frame() -> None:
    assert "M54.0" in line_chart(LineChart("Loss", (Series("loss", "train", ((1.0, 7.5),)),)))


def test_names_are_escaped() -> None:
    svg = line_chart(LineChart("<b>", (Series("<script>", "train", ((1.0, 2.0),)),), ((1.0, "<i>"),), wide=True))
    assert "<script>" not in svg
    assert "<b>" not in svg
    assert "<i>" not in svg


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (5.0, 5.0), (-3.0, 4.0)])
def test_a_padded_range_is_never_empty(low: float, high: float) -> None:
    start, end = padded(low, high)
    assert start < low <= high < end
