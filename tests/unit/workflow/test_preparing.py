"""What the prepare stage tells of the dataset that it made, and of the one that stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from modelyard.records import StageRecord, StatusDocument
from modelyard.spec import TrainingJob
from modelyard.workflow import preparing
from modelyard.workflow.attempt import Attempt, RunOptions
from modelyard.workflow.board import Board
from modelyard.workflow.news import News, Note
from modelyard.workflow.stop import StopRequest
from modelyard.yard import open_yard
from support.datasets import training_job, write_jsonl


def attempt_in(tmp_path: Path, told: list[News]) -> Attempt[TrainingJob]:
    unused = cast(Any, None)
    return Attempt(
        job=training_job(
            [{"name": "t", "path": "train.jsonl"}],
            validation={"sources": [{"name": "v", "path": "held-out.jsonl"}]},
        ),
        root=tmp_path,
        yard=open_yard(tmp_path / "yard"),
        folder=unused,
        lease=unused,
        board=Board(StatusDocument(kind="TrainingJob", name="q", run_id="q-1"), sinks=[], listener=told.append),
        ray=unused,
        stop=StopRequest(),
        options=RunOptions(),
    )


def told_of(tmp_path: Path, held_out: list[str]) -> list[Note]:
    write_jsonl(tmp_path / "train.jsonl", [f"text {number}" for number in range(20)])
    write_jsonl(tmp_path / "held-out.jsonl", held_out)
    told: list[News] = []
    preparing.work(attempt_in(tmp_path, told))
    return [news for news in told if isinstance(news, Note)]


@pytest.mark.parametrize(
    ("held_out", "words"), [(["new", "text 3", "text 3"], ["2 of 3 validation documents"]), (["new", "text 33"], [])]
)
def test_validation_texts_that_stand_in_train_are_warned_of(
    tmp_path: Path, held_out: list[str], words: list[str]
) -> None:
    warnings = [note.text for note in told_of(tmp_path, held_out) if note.warning]
    assert [" ".join(text.split()[:5]) for text in warnings] == words


def test_a_file_that_is_gone_is_told_as_missing_and_not_as_changed(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ["one", "two"])
    write_jsonl(tmp_path / "held-out.jsonl", ["three"])
    told: list[News] = []
    attempt = attempt_in(tmp_path, told)
    made = preparing.work(attempt)
    record = StageRecord(
        stage="prepare", input_digest="sha256:" + "0" * 64, attempt=1, code_version="0", outputs=made.outputs,
        started="", completed="",
    )  # fmt: skip
    (tmp_path / "train.jsonl").unlink()
    write_jsonl(tmp_path / "held-out.jsonl", ["four"])
    told.clear()
    assert preparing.stands(attempt, record)
    missing, changed = [note.text for note in told if isinstance(note, Note)]
    assert missing.startswith("1 source file(s) missing since this run's dataset was made (train.jsonl)")
    assert changed.startswith("1 source file(s) changed since this run's dataset was made (held-out.jsonl)")
    assert "new text" not in missing
