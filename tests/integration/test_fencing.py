"""Frozen drivers and workers that wake after a take-over change nothing: real processes, SIGSTOP and SIGCONT."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.yard import RunFolder, digest_folder, holder, open_yard, read_stage
from support.drivers import RUN, Player, commits

STALE = 0.5  # ten heartbeats of a player; the default is a minute


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    return open_yard(tmp_path / "yard").root


@pytest.fixture
def run(yard: Path) -> RunFolder:
    return open_yard(yard).run(RUN)


def _until(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.02)


def _takes_over(player: Player) -> dict[str, Any]:
    """Try until the frozen holder is stale."""
    answer: dict[str, Any] = {}

    def taken() -> bool:
        nonlocal answer
        answer = player.ask("take_over", stale_seconds=STALE)
        assert answer.get("error") in (None, "RunHeldError"), answer
        return "attempt" in answer

    _until(taken, "the stopped driver is taken over")
    return answer


def test_a_second_living_driver_is_refused_and_told_who_holds_the_run(yard: Path, run: RunFolder) -> None:
    with Player(yard) as first, Player(yard) as second:
        assert first.ask("take_over") == {"attempt": 1}
        refused = second.ask("take_over")
        assert refused["error"] == "RunHeldError"
        who = holder(run)
        assert who is not None
        assert f"pid {first.pid} on {who.host} since {who.claimed}" in refused["message"]
        assert who.alive
        first.ask("release")
        assert second.ask("take_over") == {"attempt": 2}


def test_a_killed_driver_is_taken_over_at_once(yard: Path, run: RunFolder) -> None:
    with Player(yard) as first, Player(yard) as second:
        first.ask("take_over")
        first.kill()
        gone = holder(run)
        assert gone is not None
        assert (gone.state, gone.pid) == ("dead", first.pid)
        assert gone.since is not None
        assert second.ask("take_over") == {"attempt": 2}


def test_a_stopped_driver_and_worker_that_wake_change_nothing(yard: Path, run: RunFolder) -> None:
    with Player(yard) as driver, Player(yard) as worker, Player(yard) as successor, Player(yard) as new_worker:
        assert driver.ask("take_over", stale_seconds=STALE) == {"attempt": 1}
        assert worker.ask("claim_group", driver=1) == {"attempt": 2}
        assert worker.ask("commit", step=50, attempt=2) == {"committed": 50}
        assert driver.ask("record", stage="prepare", outcome="first") == {"recorded": "prepare"}
        driver.stop()
        worker.stop()
        assert _takes_over(successor) == {"attempt": 3}
        assert new_worker.ask("claim_group", driver=3) == {"attempt": 4}
        assert new_worker.ask("commit", step=100, attempt=4) == {"committed": 100}
        before = digest_folder(run.path)[1]
        driver.wake()
        worker.wake()
        assert worker.ask("commit", step=100, attempt=2)["error"] == "FencedError"
        assert worker.ask("claim_group", driver=1)["error"] == "FencedError"
        assert driver.ask("record", stage="train", outcome="late")["error"] == "FencedError"
        told = driver.ask("check")
        assert told["error"] == "FencedError"
        assert f"taken over by attempt 3 (driver on {_host(run)}, pid {successor.pid}" in told["message"]
        after = digest_folder(run.path)[1]
        assert before == after
        assert commits(run) == ["step-00000050.a2", "step-00000100.a4"]


def test_a_commit_checked_before_the_stop_and_published_after_the_wake_does_not_count(
    yard: Path, run: RunFolder
) -> None:
    with Player(yard) as driver, Player(yard, stop_at="test.checked:1:stop") as worker, Player(yard) as successor:
        driver.ask("take_over", stale_seconds=STALE)
        assert worker.ask("claim_group", driver=1) == {"attempt": 2}
        worker.order("commit", step=50, attempt=2, guarded=False)
        worker.wait_until_stopped()
        driver.kill()
        assert _takes_over(successor) == {"attempt": 3}
        worker.wake()
        assert worker.answer()["error"] == "FencedError"
        assert (run.checkpoints / "step-00000050.a2" / "COMMITTED.json").exists()
        assert commits(run) == []
        assert successor.ask("claim_group", driver=3) == {"attempt": 4}
        assert successor.ask("commit", step=50, attempt=4) == {"committed": 50}
        assert commits(run) == ["step-00000050.a4"]


def test_a_commit_written_before_the_stop_gets_no_name_after_the_wake(yard: Path, run: RunFolder) -> None:
    stop_at = "yard.publish.written:2:stop"  # the group's claim is the first publication, the commit the second
    with Player(yard) as driver, Player(yard, stop_at=stop_at) as worker, Player(yard) as successor:
        driver.ask("take_over", stale_seconds=STALE)
        assert worker.ask("claim_group", driver=1) == {"attempt": 2}
        worker.order("commit", step=50, attempt=2)
        worker.wait_until_stopped()
        driver.kill()
        assert _takes_over(successor) == {"attempt": 3}
        worker.wake()
        assert worker.answer()["error"] == "FencedError"
        assert list((run.checkpoints / "step-00000050.a2").iterdir()) == []


@pytest.mark.parametrize("write", [2, 3], ids=["under the attempt's name", "as stages/train.json"])
def test_a_stage_record_checked_before_the_stop_is_not_written_after_the_wake(
    yard: Path, run: RunFolder, write: int
) -> None:
    stop_at = f"yard.replace.guarded:{write}:stop"  # the first replacement is the driver's heartbeat file
    with Player(yard, stop_at=stop_at) as driver, Player(yard) as successor:
        driver.ask("take_over", stale_seconds=STALE)
        driver.order("record", stage="train", outcome="late")
        driver.wait_until_stopped()
        assert _takes_over(successor) == {"attempt": 2}
        assert successor.ask("record", stage="train", outcome="good") == {"recorded": "train"}
        before = digest_folder(run.path)[1]
        driver.wake()
        assert driver.answer()["error"] == "FencedError"
        assert digest_folder(run.path)[1] == before
        record = read_stage(run, "train")
        assert record is not None
        assert (record.attempt, record.details["outcome"]) == (2, "good")


def test_eight_drivers_at_once_leave_one_holder(yard: Path, run: RunFolder) -> None:
    players = [Player(yard) for _ in range(8)]
    try:
        for player in players:
            player.order("take_over")
        answers = [player.answer() for player in players]
        assert sorted(answer.get("error", "held") for answer in answers) == ["RunHeldError"] * 7 + ["held"]
    finally:
        for player in players:
            player.__exit__()


def _host(run: RunFolder) -> str:
    who = holder(run)
    assert who is not None
    return who.host
