"""Who may wait for a place in the batch."""

from __future__ import annotations

import pytest

from modelyard.serve.admission import Admission, Load, admit


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        pytest.param(Load(0, 0, 0.0), Admission(True), id="idle"),
        pytest.param(Load(8, 31, 2.0), Admission(True), id="one place left in the queue"),
        pytest.param(Load(8, 32, 2.0), Admission(False, 1), id="full: the first place comes within a second"),
        pytest.param(Load(8, 63, 2.0), Admission(False, 8), id="four rounds of the batch too many"),
        pytest.param(Load(8, 32, 0.0), Admission(False, 1), id="nothing finished yet: try soon"),
        pytest.param(Load(8, 5000, 60.0), Admission(False, 60), id="never more than a minute"),
    ],
)
def test_admit(load: Load, expected: Admission) -> None:
    assert admit(load, max_sequences=8, max_waiting=32) == expected
