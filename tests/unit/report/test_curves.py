"""Columns say what the rows said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from modelyard.report.curves import Curves
from modelyard.telemetry import read_metrics

ROWS = st.fixed_dictionaries(
    {"step": st.integers(0, 6), "attempt": st.integers(0, 3)},
    optional={"loss": st.floats(-9, 9), "tokens": st.integers(0, 9), "time": st.just("2026-11-22T12:00:00Z")},
)


@given(st.lists(ROWS))
def test_what_stands_of_a_step_is_what_read_metrics_says(rows: list[dict[str, float]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        expected = read_metrics(path)
    curves = Curves(rows)
    assert list(zip(curves.steps, curves.attempts, strict=True)) == [(row["step"], row["attempt"]) for row in expected]
    for key in ("loss", "tokens"):
        found = [None if math.isnan(value) else value for value in curves.column(key)]
        assert found == [row.get(key) for row in expected]
        assert curves.last(key, -1) == (expected[-1].get(key, -1) if expected else -1)


def test_rows_of_another_shape_are_left_out() -> None:
    rows = [{"loss": 1.0}, {"step": "x"}, {"step": 10**30}, {"step": 1, "attempt": None}, {"step": 7, "loss": 10**400}]
    curves = Curves(rows)
    assert (list(curves.steps), curves.keys) == ([7], ())


def test_a_step_takes_a_few_bytes_a_figure() -> None:
    num_steps = 50_000
    curves = Curves({"step": step, "loss": 2.0, "tokens": step * 2048} for step in range(num_steps))
    held = [curves.steps, curves.attempts, *curves._columns.values()]
    assert sum(column.itemsize * len(column) for column in held) == 32 * num_steps
