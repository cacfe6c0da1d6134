from __future__ import annotations

import math

from modelyard.report.curves import Curves
from modelyard.report.training import attempt_breaks, loss_table, points, time_parts, training_view


def test_breaks_stand_where_another_attempt_went_on() -> None:
    rows = [{"attempt": a, "step": s} for s, a in ((1, 2), (2, 2), (3, 5), (4, 5), (5, 6))]
    assert attempt_breaks(Curves(rows)) == ((3, "attempt 5"), (5, "attempt 6"))


def test_parts_of_a_step_and_the_rest_of_it() -> None:
    rows = [{"step": i, "stepSeconds": 1.0, "forwardBackwardSeconds": 0.7, "dataSeconds": 0.1} for i in range(1, 5)]
    parts = {part.name: part.share for part in time_parts(Curves(rows))}
    assert list(parts) == ["forward and backward", "other", "data"]
    assert math.isclose(parts["other"], 0.2)
    assert math.isclose(sum(parts.values()), 1.0)


def test_what_is_done_between_steps_is_not_taken_from_them() -> None:
    row = {"step": 1, "stepSeconds": 1.0, "dataSeconds": 1.0, "checkpointSeconds": 3.0, "validationSeconds": 6.0}
    assert [(part.name, round(part.share, 2)) for part in time_parts(Curves([row]))] == [
        ("validation", 0.6),
        ("checkpoint", 0.3),
        ("data", 0.1),
    ]


def test_rows_without_times_have_no_parts() -> None:
    assert time_parts(Curves([{"step": 1, "loss": 2.0}])) == ()


def test_values_that_are_no_numbers_are_left_out() -> None:
    rows = [{"step": 1, "loss": "NaN"}, {"step": 2, "loss": None}, {"step": 3, "loss": True}, {"step": 4, "loss": 2.0}]
    assert points(Curves(rows), "loss") == ((4, 2.0),)
    assert training_view(Curves(rows[:3])) is None


def test_the_table_shows_the_steps_with_a_validation_loss() -> None:
    rows = [{"step": i, "loss": 2.0} | ({"validationLoss": 2.5} if i % 10 == 0 else {}) for i in range(1, 31)]
    table = loss_table(Curves(rows))
    assert [line[0] for line in table] == ["10", "20", "30"]
    assert table[0][:3] == ("10", "2.000", "2.500")
