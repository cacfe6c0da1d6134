"""Events and metrics: torn lines, attempts, and no secret on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from modelyard.errors import StorageError
from modelyard.telemetry import MASK, Events, MetricsWriter, RowWriter, read_metrics, read_rows


def _now() -> str:
    return "2026-01-01T00:00:00Z"


def test_events_carry_time_and_attempt_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "xyzzy-planted")
    path = tmp_path / "events.jsonl"
    Events(path, attempt=1, now=_now).add("WorkerLost", rank=1, evidence=["said xyzzy-planted", "password=hunter2"])
    Events(path, attempt=3, now=_now).add("RunEnded")
    assert list(read_rows(path)) == [
        {
            "time": _now(),
            "attempt": 1,
            "event": "WorkerLost",
            "rank": 1,
            "evidence": [f"said {MASK}", f"password={MASK}"],
        },
        {"time": _now(), "attempt": 3, "event": "RunEnded"},
    ]
    assert b"xyzzy" not in path.read_bytes()


def test_of_a_step_the_last_attempt_s_row_stands(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first, second = MetricsWriter(path, attempt=2, now=_now), MetricsWriter(path, attempt=4, now=_now)
    for step in (1, 2, 3):
        first.write(step, loss=float(step), gradNorm=None)
    second.write(2, loss=20.0)
    second.write(2, validationLoss=5.0)
    first.write(2, loss=99.0)  # a frozen writer that woke
    rows = read_metrics(path)
    assert [(row["step"], row["attempt"], row["loss"]) for row in rows] == [(1, 2, 1.0), (2, 4, 20.0), (3, 2, 3.0)]
    assert rows[1]["validationLoss"] == 5.0
    assert "gradNorm" not in rows[0]


def test_a_loss_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path, attempt=1).write(1, loss=math.nan, gradNorm=math.inf)
    (row,) = read_metrics(path)
    assert math.isnan(row["loss"])
    assert math.isinf(row["gradNorm"])


@pytest.mark.parametrize("cut", range(1, 20, 3))
def test_a_torn_line_is_left_out_and_harms_no_later_one(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path, attempt=1, now=_now)
    writer.write(1, loss=1.0)
    with path.open("ab") as file:
        file.write(b'{"attempt": 1, "step": 2, "loss": 2.0}\n'[:cut])
    assert [row["step"] for row in read_metrics(path)] == [1]
    writer.write(3, loss=3.0)
    assert [row["step"] for row in read_metrics(path)] == [1, 3]


def test_rows_of_another_shape_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'[1]\n{"loss": 1}\n{"step": "x"}\n\xff\n{"step": 1, "attempt": null}\n{"step": 7}\n')
    assert [row["step"] for row in read_metrics(path)] == [7]


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "none") == []
    assert list(read_rows(tmp_path / "none")) == []


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot append to"):
        RowWriter(tmp_path / "file" / "rows.jsonl").write({})
