"""A run's metrics by step, a column for each figure: a tenth of what its rows take, for runs of many steps."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

_LARGEST = 2**53  # a count that a float holds exactly


class Curves:
    """Columns of numbers, in step order. Of several attempts' rows of a step stands what `read_metrics` says."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.steps = array("q")
        self.attempts = array("q")
        self._columns: dict[str, array[float]] = {}
        for row in rows:
            self._add(row)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the columns, sorted."""
        return tuple(sorted(self._columns))

    def column(self, key: str) -> Iterator[float]:
        """A figure of every step; NaN where a step has none."""
        values = self._columns.get(key, array("d"))
        yield from values
        for _ in range(len(self) - len(values)):
            yield math.nan

    def last(self, key: str, default: float) -> float:
        """A figure of the last step."""
        values = self._columns.get(key, array("d"))
        return default if len(values) < len(self) or not values or math.isnan(values[-1]) else values[-1]

    def _add(self, row: Mapping[str, Any]) -> None:
        step, attempt = row.get("step"), row.get("attempt", 0)
        if not _is_count(step) or not _is_count(attempt):
            return
        place = self._place(step, attempt)
        if attempt < self.attempts[place]:
            return
        if attempt > self.attempts[place]:
            self._clear(place, attempt)
        for key, value in row.items():
            if key not in ("step", "attempt") and _is_number(value):
                column = self._columns.setdefault(key, array("d"))
                column.extend([math.nan] * (place + 1 - len(column)))
                column[place] = value

    def _place(self, step: int, attempt: int) -> int:
        """Where a step stands; one that is new is made room for (nearly always at the end)."""
        place = bisect_left(self.steps, step)
        if place == len(self) or self.steps[place] != step:
            self.steps.insert(place, step)
            self.attempts.insert(place, attempt)
            for column in self._columns.values():
                if place < len(column):
                    column.insert(place, math.nan)
        return place

    def _clear(self, place: int, attempt: int) -> None:
        self.attempts[place] = attempt
        for column in self._columns.values():
            if place < len(column):
                column[place] = math.nan


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value <= _LARGEST


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (_is_count(value) and not isinstance(value, bool))
