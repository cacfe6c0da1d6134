"""What a run is trained from stays what it was when the run began."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from modelyard import yard as yards
from modelyard.errors import InvalidInputError
from modelyard.records import StageRecord, VersionRecord
from modelyard.registry import open_registry
from modelyard.spec import TrainingJob, parse
from modelyard.workflow.attempt import Attempt, RunOptions
from modelyard.workflow.base_model import base_model, pin
from modelyard.workflow.stop import StopRequest

ZERO = "sha256:" + "0" * 64
JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: finer}
spec:
  objective: causal-lm
  model: {from: %s}
  data: {train: [{name: words, path: words.jsonl}]}
  optimization: {steps: 5}
  register: {name: finer}
"""


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Any]:
    yard = yards.open_yard(tmp_path / "yard")
    leases = []

    def begin(reference: str) -> Attempt[TrainingJob]:
        (job,) = parse(JOB % reference, origin="job.yaml")
        assert isinstance(job, TrainingJob)
        run = yard.run("finer-01234567")
        leases.append(yards.take_over(run))
        nothing = cast(Any, None)
        return Attempt(job, tmp_path, yard, run, leases[-1], nothing, nothing, StopRequest(), RunOptions())

    yield begin
    for lease in leases:
        lease.release()


def write_model(folder: Path, config: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config)
    return folder


def register(yard: yards.Yard, folder: Path, run_id: str) -> VersionRecord:
    return open_registry(yard).register(
        "base", folder, run_id=run_id, spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO, code_version="0"
    )


def record_prepare(attempt: Attempt[TrainingJob]) -> None:
    record = StageRecord(
        stage="prepare", input_digest=ZERO, attempt=attempt.lease.attempt, code_version="0", outputs=(),
        started="", completed="", details=pin(attempt),
    )  # fmt: skip
    yards.publish_stage(attempt.folder, record)


def test_an_alias_that_moves_after_prepare_is_not_followed(attempts: Any, tmp_path: Path) -> None:
    attempt = attempts("registry://base@stable")
    books = open_registry(attempt.yard)
    first = register(attempt.yard, write_model(tmp_path / "one", "{}"), "base-00000001")
    second = register(attempt.yard, write_model(tmp_path / "two", '{"other": 1}'), "base-00000002")
    books.set_alias("base", "stable", first.version, by="test")
    record_prepare(attempt)
    books.set_alias("base", "stable", second.version, by="test")
    found = base_model(attempt)
    assert found is not None
    assert (found.label, found.digest) == ("base@1", first.digest)
    assert pin(attempt)["base"]["reference"] == "registry://base@1", "prepared again, the run keeps its base"


def test_a_folder_that_changed_since_is_refused(attempts: Any, tmp_path: Path) -> None:
    write_model(tmp_path / "base", "{}")
    attempt = attempts("./base")
    record_prepare(attempt)
    assert base_model(attempt) is not None
    write_model(tmp_path / "base", '{"other": 1}')
    attempt.lease.release()
    attempt = attempts("./base")
    with pytest.raises(InvalidInputError, match="changed since this run began"):
        base_model(attempt)
