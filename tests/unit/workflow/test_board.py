"""The status document in the making."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelyard.records import Condition, FailureDigest, Progress, StatusDocument
from modelyard.spec.reasons import Reason
from modelyard.workflow.board import Board, idle, opening, with_condition
from modelyard.workflow.news import News, Progressed


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def a_board() -> tuple[Board, Clock, list[StatusDocument], list[News]]:
    clock, written, told = Clock(), [], []
    document = opening(
        StatusDocument(kind="TrainingJob", name="q", run_id="q-1"), attempts=1, before=None, now="2026-11-22T12:00:00Z"
    )
    return Board(document, sinks=[written.append], listener=told.append, clock=clock), clock, written, told


def types(document: StatusDocument) -> dict[str, str]:
    return {condition.type: condition.status for condition in document.conditions}


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = Condition(type="Progressing", status="True", reason="Preparing", last_transition_time="t0")
    same = Condition(type="Progressing", status="True", reason="Training", last_transition_time="t1")
    other = Condition(type="Progressing", status="False", reason="Completed", last_transition_time="t2")
    (kept,) = with_condition([before], same)
    (changed,) = with_condition([before], other)
    assert (kept.reason, kept.last_transition_time) == ("Training", "t0")
    assert changed.last_transition_time == "t2"


def test_every_transition_is_written_and_progress_once_a_second() -> None:
    board, clock, written, told = a_board()
    board.enter("Training", Reason.TRAINING)
    for step in range(5):
        board.progress(Progressed(Progress(stage="train", step=step), loss=3.0 - step))
    assert len(written) == 1
    assert len(told) == 5
    clock.move(1.0)
    board.progress(Progressed(Progress(stage="train", step=9), loss=1.5))
    assert written[-1].progress == Progress(stage="train", step=9)
    assert written[-1].metrics.loss == 1.5


def test_the_end_says_so_in_phase_conditions_and_time() -> None:
    board, _, written, _ = a_board()
    board.enter("Training", Reason.TRAINING)
    board.complete()
    assert written[-1].phase == "Succeeded"
    assert types(written[-1]) == {"Accepted": "True", "Progressing": "False", "Complete": "True"}
    assert written[-1].completion_time == "2026-11-22T12:00:00Z"


def test_a_resumed_run_keeps_what_it_learnt_and_drops_its_end() -> None:
    board, _, written, _ = a_board()
    board.progress(Progressed(Progress(stage="train", step=7), loss=2.0))
    board.suspended(FailureDigest(failure_class="Interrupted", message="stopped as asked"))
    assert (written[-1].phase, types(written[-1])["Suspended"]) == ("Suspended", "True")
    again = opening(written[-1], attempts=2, before=written[-1], now="2026-11-22T13:00:00Z")
    assert again.start_time == "2026-11-22T12:00:00Z"
    assert again.attempts == 2
    assert again.metrics.loss == 2.0
    assert types(again)["Suspended"] == "False"
    board.failed(FailureDigest(failure_class="Storage", message="full"))
    after_failure = opening(board.document, attempts=3, before=board.document, now="2026-11-22T14:00:00Z")
    assert "Failed" not in types(after_failure)
    assert after_failure.completion_time is None


def test_the_next_stage_keeps_how_far_training_came_and_not_how_fast() -> None:
    trained = Progress(stage="train", step=480, total_steps=480, tokens=9000, tokens_per_second=50.0, eta_seconds=1.0)
    assert idle("register", trained) == Progress(stage="register", step=480, total_steps=480, tokens=9000)
    assert idle("prepare", None) == Progress(stage="prepare")
