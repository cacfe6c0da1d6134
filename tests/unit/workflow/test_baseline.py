"""What an EvaluationJob is compared with: resolved once, part of what determines the evaluation, or told as missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelyard import yard as yards
from modelyard.errors import IntegrityError
from modelyard.records import StatusDocument, VersionRecord
from modelyard.registry import open_registry
from modelyard.spec import EvaluationJob, parse
from modelyard.workflow import evaluation_job
from modelyard.workflow.attempt import Attempt, RunOptions
from modelyard.workflow.board import Board
from modelyard.workflow.stop import StopRequest

ZERO = "sha256:" + "0" * 64
JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: EvaluationJob
metadata: {name: check}
spec:
  target: {model: TARGET}
  BASELINE
  suites: [{name: heldout, task: perplexity, sources: [{name: words, path: words.jsonl}]}]
"""
STABLE = "baseline: {model: registry://base@stable, whenMissing: pass}"


def register(yard: yards.Yard, folder: Path, config: str) -> VersionRecord:
    folder.mkdir()
    (folder / "config.json").write_text(config)
    return open_registry(yard).register(
        "base", folder, run_id=folder.name, spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="0",
    )  # fmt: skip


@pytest.fixture
def yard(tmp_path: Path) -> yards.Yard:
    """Three versions of a model, and the documents."""
    (tmp_path / "words.jsonl").write_text('{"text": "words"}\n')
    made = yards.open_yard(tmp_path / "yard")
    for number in (1, 2, 3):
        register(made, tmp_path / f"run-{number}", "{}" + " " * number)
    return made


@pytest.fixture
def attempts(tmp_path: Path, yard: yards.Yard) -> Iterator[Any]:
    leases: list[yards.Lease] = []

    def begin(baseline: str = STABLE, target: str = "registry://base@1") -> Attempt[EvaluationJob]:
        (job,) = parse(JOB.replace("BASELINE", baseline).replace("TARGET", target), origin="job.yaml")
        assert isinstance(job, EvaluationJob)
        run = yard.run("check-01234567")
        for lease in leases:
            lease.release()
        leases.append(yards.take_over(run))
        nothing = cast(Any, None)
        return Attempt(job, tmp_path, yard, run, leases[-1], nothing, nothing, StopRequest(), RunOptions())

    yield begin
    leases[-1].release()


def inputs(attempt: Attempt[EvaluationJob]) -> dict[str, Any]:
    return evaluation_job.STAGES[0].inputs(attempt)


def test_an_alias_that_moved_is_another_evaluation_and_one_that_moves_meanwhile_is_not(
    attempts: Any, yard: yards.Yard
) -> None:
    books = open_registry(yard)
    books.set_alias("base", "stable", 2, by="test")
    attempt = attempts()
    first = inputs(attempt)
    books.set_alias("base", "stable", 3, by="test")
    assert inputs(attempt) == first
    assert inputs(attempts()) != first
    books.set_alias("base", "stable", 2, by="test")
    assert inputs(attempts()) == first


def test_an_alias_that_appears_is_another_evaluation(attempts: Any, yard: yards.Yard) -> None:
    attempt = attempts()
    without = inputs(attempt)
    open_registry(yard).set_alias("base", "stable", 2, by="test")
    assert inputs(attempt) == without, "what began without a baseline ends without one"
    assert inputs(attempts()) != without


def test_a_job_without_a_baseline_is_what_it_was(attempts: Any) -> None:
    assert "baseline" not in inputs(attempts(""))


def test_a_damaged_baseline_is_no_missing_one(attempts: Any, yard: yards.Yard) -> None:
    open_registry(yard).set_alias("base", "stable", 2, by="test")
    config = yard.model_folder("base", 2) / "config.json"
    config.chmod(0o644)
    config.write_text("{} x")
    with pytest.raises(IntegrityError, match=r"config\.json is damaged"):
        inputs(attempts())


def test_the_status_names_the_version_that_an_alias_meant(attempts: Any, yard: yards.Yard) -> None:
    open_registry(yard).set_alias("base", "stable", 2, by="test")
    attempt = attempts("", target="registry://base@stable")
    attempt.board = Board(StatusDocument(kind="EvaluationJob", name="check"), sinks=[], listener=lambda news: None)
    attempt.ray = cast(Any, SimpleNamespace(begin=lambda: None))
    evaluation_job.begin(attempt)
    model = attempt.board.document.model
    assert model is not None
    assert (model.name, model.version) == ("base", 2)
