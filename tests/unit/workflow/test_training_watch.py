"""What the driver does before the worker group starts, and beside it.

It refuses other text, takes progress, and passes a wish to stop on, whatever its disk does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard import telemetry, yard
from modelyard.checkpoint import Commit
from modelyard.errors import BadDataError, StorageError
from modelyard.records import CommitRecord, StatusDocument
from modelyard.workflow import StopRequest, training
from modelyard.workflow.board import Board
from modelyard.workflow.news import News, Note
from modelyard.workflow.recorder import recorded
from modelyard.workflow.sinks import to_file

PATIENCE_SECONDS = 30.0


class Disk:
    """The driver's own writes, which fail while `full`."""

    def __init__(self, run: yard.RunFolder, lease: yard.Lease) -> None:
        self.full, self.refused = False, 0
        self._status = to_file(run.status, guard=lease.check)
        self._listen = recorded(telemetry.Events(run.events, attempt=lease.attempt), lambda news: None)

    def status(self, document: StatusDocument) -> None:
        self._check()
        self._status(document)

    def listen(self, news: News) -> None:
        if isinstance(news, Note):
            self._check()
        self._listen(news)

    def _check(self) -> None:
        if self.full:
            self.refused += 1
            raise StorageError("the disk is full")


@pytest.fixture
def run(tmp_path: Path) -> yard.RunFolder:
    return yard.open_yard(tmp_path / "yard").run("job-0123abcd")


def _attempt(run: yard.RunFolder, lease: yard.Lease, disk: Disk) -> Any:
    document = StatusDocument(kind="TrainingJob", name="job", run_id=run.run_id)
    board = Board(document, sinks=[disk.status], listener=disk.listen)
    return SimpleNamespace(folder=run, lease=lease, board=board, stop=StopRequest())


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it"
        time.sleep(0.02)


def _step(attempt: Any) -> int | None:
    progress = attempt.board.document.progress
    return progress.step if progress else None


def test_other_text_than_the_commits_is_refused_before_the_workers_start(
    run: yard.RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = CommitRecord(
        step=30, attempt=2, tokens=0, training_digest="", dataset_digest="sha256:old", files=(), scalars={}, created="",
    )  # fmt: skip
    attempt: Any = SimpleNamespace(folder=run)
    training._check_text(attempt, "sha256:new")
    monkeypatch.setattr(training, "committed", lambda run: [Commit(run.checkpoints / "any", record)])
    training._check_text(attempt, "sha256:old")
    with pytest.raises(BadDataError, match=r"step 30 was trained on dataset sha256:old.*now is dataset sha256:new"):
        training._check_text(attempt, "sha256:new")


def test_a_disk_that_was_full_for_a_while_keeps_no_wish_to_stop_from_the_workers(run: yard.RunFolder) -> None:
    with yard.take_over(run) as lease:
        disk = Disk(run, lease)
        attempt = _attempt(run, lease, disk)
        rows = telemetry.MetricsWriter(run.metrics, attempt=2)
        with training._watched(attempt):
            rows.write(1, loss=3.0, totalSteps=10)
            _until(lambda: _step(attempt) == 1)
            disk.full = True
            for step in range(2, 10_000):
                rows.write(step, loss=3.0, totalSteps=10)
                if disk.refused > 1:  # the status, and the word of that
                    break
                time.sleep(0.02)
            disk.full = False
            attempt.stop.ask()
            _until(run.control.exists)
            rows.write(20_000, loss=3.0, totalSteps=10)
            _until(lambda: _step(attempt) == 20_000)


@pytest.mark.parametrize(
    ("steps", "words"), [(0, "the workers stop once they have started"), (1, "commit at the end of this step")]
)
def test_a_wish_to_stop_says_what_the_workers_do_about_it(run: yard.RunFolder, steps: int, words: str) -> None:
    told: list[News] = []
    with yard.take_over(run) as lease:
        board = Board(StatusDocument(kind="TrainingJob", name="job"), sinks=[], listener=told.append)
        attempt: Any = SimpleNamespace(folder=run, lease=lease, board=board, stop=StopRequest())
        telemetry.MetricsWriter(run.metrics, attempt=0).write(9, loss=3.0)  # an earlier attempt's
        with training._watched(attempt):
            for step in range(1, steps + 1):
                telemetry.MetricsWriter(run.metrics, attempt=2).write(step, loss=3.0, totalSteps=10)
                _until(lambda: _step(attempt) == 1)
            attempt.stop.ask()
            _until(run.control.exists)
    (note,) = [news.text for news in told if isinstance(news, Note)]
    assert words in note


def test_a_driver_that_was_taken_over_takes_no_later_attempts_rows_and_tells_nothing(run: yard.RunFolder) -> None:
    with yard.take_over(run) as lease:
        attempt = _attempt(run, lease, Disk(run, lease))
        with (
            training._watched(attempt),
            yard.take_over(run, now=lambda: time.time() + 999) as later,  # the first one looks silent
        ):
            telemetry.MetricsWriter(run.metrics, attempt=later.attempt + 1).write(7, loss=3.0, totalSteps=10)
        assert _step(attempt) is None
        assert not run.events.exists()
