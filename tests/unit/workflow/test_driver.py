"""What a driver does before its first stage."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest

from modelyard import spec, yard
from modelyard.errors import BadDataError, FencedError, NewerLayoutError, NotFoundError
from modelyard.records import StatusDocument
from modelyard.workflow import RunOptions, run, run_id
from modelyard.workflow.driver import forget

JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: EvaluationJob
metadata: {name: check}
spec:
  target: {model: registry://none@stable}
  suites: [{name: words, task: perplexity, sources: [{name: words, path: words.jsonl, format: jsonl}]}]
"""

TRAINING = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: check}
spec:
  objective: causal-lm
  model: {architecture: llama}
  data: {train: [{name: words, path: words}]}
  optimization: {steps: 1}
  register: {name: check}
"""


def test_a_damaged_status_is_begun_anew_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    (job,) = spec.parse(JOB, origin="job.yaml")
    opened = yard.open_yard(tmp_path / "yard")
    folder = opened.run(run_id(job))
    folder.path.mkdir(parents=True)
    folder.status.write_text('{"torn')
    shown = warnings.showwarning
    with pytest.raises(NotFoundError):  # the model: it came as far as that
        run(job, root=tmp_path, yard=opened)
    assert yard.read_record(folder.status, StatusDocument).phase == "Failed"
    assert f"{folder.status} is damaged" in folder.driver_log.read_text()
    folder.status.write_text('{"schema": 2}')
    assert warnings.showwarning is shown, "logging came back to what it was"
    with pytest.raises(NewerLayoutError, match=r"status\.json"):
        run(job, root=tmp_path, yard=opened)


def test_a_fresh_start_without_its_text_forgets_nothing(tmp_path: Path) -> None:
    (job,) = spec.parse(TRAINING, origin="job.yaml")
    opened = yard.open_yard(tmp_path / "yard")
    folder = opened.run(run_id(job))
    yard.take_over(folder).release()
    folder.checkpoints.mkdir(parents=True)
    with pytest.raises(BadDataError, match="words does not exist"):
        run(job, root=tmp_path, yard=opened, options=RunOptions(fresh=True))
    assert folder.checkpoints.exists()
    assert len(yard.claims(folder)) == 1


def test_a_fresh_start_that_was_taken_over_forgets_nothing_of_its_successor(tmp_path: Path) -> None:
    folder = yard.open_yard(tmp_path / "yard").run("job-0123abcd")
    with yard.take_over(folder, fresh=True) as lease, yard.take_over(folder, now=lambda: time.time() + 999):
        folder.checkpoints.mkdir(parents=True)
        with pytest.raises(FencedError):
            forget(folder, guard=lease.check)
        assert folder.checkpoints.exists()
