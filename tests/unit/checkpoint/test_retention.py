from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest

from modelyard import checkpoint
from modelyard.checkpoint import Commit, Keep
from modelyard.checkpoint.commits import FolderName, parse_folder
from modelyard.checkpoint.retention import removable
from modelyard.errors import FencedError, UsageError
from modelyard.records import CommitRecord
from support.states import claim, claimed_run, facts, in_child, small_state


def commit(name: str, **metrics: float) -> Commit:
    at = parse_folder(name)
    assert at is not None
    record = CommitRecord(
        step=at.step, attempt=at.attempt, tokens=0, training_digest="", dataset_digest="", files=(), scalars={},
        created="", metrics=metrics,
    )  # fmt: skip
    return Commit(Path("/nowhere") / name, record)


def folder(step: int, attempt: int = 1) -> str:
    return str(FolderName(attempt, step))


CASES = {
    # name: (all folders, those that count with a metric, keep, attempt, removed)
    "fewer than last": ([10, 20], {10: 1.0, 20: 2.0}, Keep(2), 1, []),
    "the oldest goes": ([10, 20, 30], {10: 1.0, 20: 2.0, 30: 3.0}, Keep(2), 1, [10]),
    "the best stays": ([10, 20, 30, 40], {10: 1.0, 20: 2.0, 30: 3.0, 40: 4.0}, Keep(2, "loss"), 1, [20]),
    "the best by max": ([10, 20, 30, 40], {10: 1.0, 20: 9.0, 30: 3.0, 40: 4.0}, Keep(1, "loss", "max"), 1, [10, 30]),
    "a value that is no number is no best": ([10, 20, 30], {10: math.nan, 20: 2.0, 30: 3.0}, Keep(1, "loss"), 1, [10]),
    "none measured": ([10, 20, 30], {10: 1.0, 20: 2.0, 30: 3.0}, Keep(1, "accuracy"), 1, [10, 20]),
    "left half written": ([5, 10, 20], {10: 1.0, 20: 1.0}, Keep(2), 1, [5]),
    "no commit, nothing removed": ([5, 10], {}, Keep(2), 1, []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_removable(case: str) -> None:
    present, counting, keep, attempt, gone = CASES[case]
    commits = [commit(folder(step), loss=value) for step, value in counting.items()]
    names = [FolderName(1, step) for step in present]
    assert [name.step for name in removable(names, commits, keep, attempt=attempt)] == gone


def test_nothing_of_a_later_attempt_is_touched() -> None:
    present = [FolderName(1, 10), FolderName(1, 20), FolderName(3, 20), FolderName(4, 30)]
    counting = [commit(folder(10)), commit(folder(20, 3))]
    assert removable(present, counting, Keep(1), attempt=3) == [FolderName(1, 10), FolderName(1, 20)]


def test_the_newest_is_the_latest_attempts() -> None:
    present = [FolderName(1, 100), FolderName(2, 50)]
    commits = [commit(folder(100)), commit(folder(50, 2))]
    assert removable(present, commits, Keep(1), attempt=2) == [FolderName(1, 100)]


@pytest.mark.parametrize("wrong", [{"last": 0}, {"mode": "best"}])
def test_a_rule_that_cannot_be_kept_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Keep(**wrong)  # type: ignore[arg-type]


def test_pruning_a_real_run(tmp_path: Path) -> None:
    run, attempt = claimed_run(tmp_path)
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 2.5)):
        checkpoint.save(small_state(step), run, facts(step, attempt, loss=loss))
    (run.checkpoints / "notes").mkdir()
    assert checkpoint.prune(run, Keep(1, "loss"), attempt=attempt) == (folder(10), folder(30))
    assert sorted(os.listdir(run.checkpoints)) == ["notes", folder(20), folder(40)]
    assert checkpoint.best(checkpoint.committed(run), "loss").step == 20
    for kept in checkpoint.committed(run):
        checkpoint.verify(kept)


@pytest.mark.parametrize("point", ["checkpoint.prune.unmarked:1", "checkpoint.prune.removed:1"])
def test_killed_while_pruning_the_next_one_finishes(tmp_path: Path, point: str) -> None:
    run, attempt = claimed_run(tmp_path)
    for step in (10, 20, 30, 40):
        checkpoint.save(small_state(step), run, facts(step, attempt))
    code = in_child(lambda: checkpoint.prune(run, Keep(2), attempt=attempt), fault_point=point)
    assert code == -signal.SIGKILL
    assert checkpoint.latest(run).commit.step == 40
    assert folder(10) not in checkpoint.committed_names(run)
    checkpoint.prune(run, Keep(2), attempt=attempt)
    assert sorted(os.listdir(run.checkpoints)) == [folder(30), folder(40)]


def test_a_fenced_attempt_removes_nothing(tmp_path: Path) -> None:
    run, attempt = claimed_run(tmp_path)
    for step in (10, 20, 30):
        checkpoint.save(small_state(step), run, facts(step, attempt))
    claim(run)
    with pytest.raises(FencedError):
        checkpoint.prune(run, Keep(1), attempt=attempt)
    assert len(os.listdir(run.checkpoints)) == 3
