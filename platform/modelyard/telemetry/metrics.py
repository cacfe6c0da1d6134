"""A run's curve: `train/metrics.jsonl`, one row a step. A step redone after a resume: the last attempt wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.telemetry.events import row_time
from modelyard.telemetry.rows import RowWriter, read_rows


class MetricsWriter:
    """Writes rows of metrics under one attempt; keys are camelCase, units in the name."""

    def __init__(self, path: Path, *, attempt: int, now: Callable[[], str] = row_time) -> None:
        self.attempt = attempt
        self._writer = RowWriter(path)
        self._now = now

    def write(self, step: int, **values: float | int | None) -> None:
        """Append the row of a step; values that are None are left out."""
        known = {name: value for name, value in values.items() if value is not None}
        self._writer.write({"attempt": self.attempt, "step": step, **known, "time": self._now()})


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The curve, by step. Of a step written by several attempts the last attempt's row stands, whole.

    Rows of one step and one attempt (its training row, its validation row) are merged. Steps that an earlier attempt
    reached beyond the last commit stand until the later attempt has redone them.
    """
    steps: dict[int, dict[str, Any]] = {}
    for row in read_rows(path):
        step, attempt = row.get("step"), row.get("attempt", 0)
        if not isinstance(step, int) or not isinstance(attempt, int):
            continue
        before = steps.get(step)
        if before is None or before["attempt"] < attempt:
            steps[step] = {**row, "attempt": attempt}
        elif before["attempt"] == attempt:
            before.update(row)
    return [steps[step] for step in sorted(steps)]
