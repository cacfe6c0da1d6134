"""A growing file, read as it grows."""

from __future__ import annotations

from pathlib import Path

from modelyard.workflow.follow import Follower


def test_rows_arrive_once_and_a_torn_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = Follower(path)
    assert follower.poll() == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert follower.poll() == [{"step": 1}, {"step": 2}]
    assert follower.poll() == []
    with path.open("a") as file:
        file.write('ep": 3}\nnot json\n[1]\n{"step": 4}\n')
    assert follower.poll() == [{"step": 3}, {"step": 4}]


def test_following_from_the_end_passes_over_what_stands(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    follower = Follower(path, from_end=True)
    with path.open("a") as file:
        file.write('{"step": 2}\n')
    assert follower.poll() == [{"step": 2}]
