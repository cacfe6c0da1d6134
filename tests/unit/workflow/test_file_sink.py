"""The status document in a file of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelyard.errors import StorageError
from modelyard.records import StatusDocument
from modelyard.workflow import FileSink

DOCUMENT = StatusDocument(kind="TrainingJob", name="q", run_id="q-1")


def test_a_passing_fault_is_told_once_and_the_next_write_tries_again(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "out" / "status.json"
    sink = FileSink(path, told=told.append)
    for _ in range(2):
        sink(DOCUMENT)
        shutil.rmtree(path.parent)
        path.parent.write_text("a file in the folder's place")
        sink(DOCUMENT)
        sink(DOCUMENT)
        path.parent.unlink()
    sink(DOCUMENT)
    assert len(told) == 2, "once for each time that it began to fail"
    assert "the run goes on" in told[0]
    assert StatusDocument.from_json(path.read_bytes(), origin="status.json") == DOCUMENT


def test_a_path_that_never_worked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError):
        FileSink(tmp_path / "out" / "status.json")(DOCUMENT)
