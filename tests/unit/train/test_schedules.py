"""Learning rates by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.spec import ScheduleSpec
from modelyard.train.schedules import learning_rate, ratio

CASES = {
    "warm-up rises from the first step": (ScheduleSpec(name="constant", warmup_steps=4), 1, 100, 0.25),
    "warm-up ends at the peak": (ScheduleSpec(name="cosine", warmup_steps=4), 4, 100, 1.0),
    "cosine half-way": (ScheduleSpec(name="cosine", warmup_steps=20, minimum_ratio=0.1), 60, 100, 0.55),
    "cosine ends at the minimum": (ScheduleSpec(name="cosine", warmup_steps=20, minimum_ratio=0.1), 100, 100, 0.1),
    "linear half-way": (ScheduleSpec(name="linear", warmup_steps=20, minimum_ratio=0.0), 60, 100, 0.5),
    "constant stays": (ScheduleSpec(name="constant"), 99, 100, 1.0),
    "wsd is stable": (ScheduleSpec(name="wsd", warmup_steps=5, decay_steps=10), 90, 100, 1.0),
    "wsd decays": (ScheduleSpec(name="wsd", warmup_steps=5, decay_steps=10, minimum_ratio=0.2), 95, 100, 0.6),
    "wsd ends at the minimum": (ScheduleSpec(name="wsd", decay_steps=10, minimum_ratio=0.2), 100, 100, 0.2),
    "an only step is at the peak: cosine": (ScheduleSpec(name="cosine", minimum_ratio=0.0), 1, 1, 1.0),
    "an only step is at the peak: linear": (ScheduleSpec(name="linear", minimum_ratio=0.0), 1, 1, 1.0),
    "an only step is at the peak: wsd": (ScheduleSpec(name="wsd", minimum_ratio=0.0), 1, 1, 1.0),
    "wsd decays over a tenth when not told": (ScheduleSpec(name="wsd", minimum_ratio=0.0), 95, 100, 0.5),
}


@pytest.mark.parametrize("case", CASES)
def test_ratio(case: str) -> None:
    schedule, step, total, expected = CASES[case]
    assert ratio(schedule, step, total) == pytest.approx(expected)


@given(
    st.sampled_from(["cosine", "linear", "constant", "wsd"]),
    st.integers(0, 50),
    st.integers(1, 200),
    st.floats(0, 1),
    st.data(),
)
def test_never_above_the_peak_and_never_below_the_minimum_after_the_warm_up(
    name: str, warmup: int, more: int, low: float, data: st.DataObject
) -> None:
    total = warmup + more
    step = data.draw(st.integers(1, total))
    schedule = ScheduleSpec.model_validate({"name": name, "warmupSteps": warmup, "minimumRatio": low})
    rate = learning_rate(2.0, schedule, step, total)
    assert 0.0 <= rate <= 2.0
    if step >= warmup:
        assert rate >= 2.0 * low - 1e-9
