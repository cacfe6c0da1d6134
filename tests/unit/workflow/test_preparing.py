"""What the prepare stage tells of the dataset that it made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from modelyard.records import StatusDocument
from modelyard.workflow import preparing
from modelyard.workflow.attempt import Attempt, RunOptions
from modelyard.workflow.board import Board
from modelyard.workflow.news import News, Note
from modelyard.workflow.stop import StopRequest
from modelyard.yard import open_yard
from support.datasets import training_job, write_jsonl


def told_of(tmp_path: Path, held_out: list[str]) -> list[Note]:
    write_jsonl(tmp_path / "train.jsonl", [f"text {number}" for number in range(20)])
    write_jsonl(tmp_path / "held-out.jsonl", held_out)
    told: list[News] = []
    unused = cast(Any, None)
    attempt = Attempt(
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
    preparing.work(attempt)
    return [news for news in told if isinstance(news, Note)]


@pytest.mark.parametrize(
    ("held_out", "words"), [(["new", "text 3", "text 3"], ["2 of 3 validation documents"]), (["new", "text 33"], [])]
)
def test_validation_texts_that_stand_in_train_are_warned_of(
    tmp_path: Path, held_out: list[str], words: list[str]
) -> None:
    warnings = [note.text for note in told_of(tmp_path, held_out) if note.warning]
    assert [" ".join(text.split()[:5]) for text in warnings] == words
