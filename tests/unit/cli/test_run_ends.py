"""How `modelyard run` ends when a job does not end well: what programs and people get besides the error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modelyard import workflow
from modelyard.cli.app import app
from modelyard.errors import GateFailedError, NotFoundError
from modelyard.records import Metrics, MetricValue, ModelState, StatusDocument
from modelyard.spec import Manifest
from modelyard.workflow import Sink

JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: EvaluationJob
metadata: {name: NAME}
spec:
  target: {model: registry://none@stable}
  suites: [{name: words, task: perplexity, sources: [{name: words, path: words.jsonl, format: jsonl}]}]
"""
BITS = MetricValue(suite="words", metric="bits_per_byte", value=2.5, items=3)


def _run(folder: Path, names: Sequence[str], *arguments: str) -> Result:
    (folder / "job.yaml").write_text("---\n".join(JOB.replace("NAME", name) for name in names))
    return CliRunner().invoke(app, ["run", "-f", str(folder / "job.yaml"), "--yard", str(folder / "yard"), *arguments])


def _gates_say_no_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the driver: every job is done but one, whose gates say no."""

    def run(manifest: Manifest, *, sinks: Sequence[Sink], **options: Any) -> StatusDocument:
        refused = manifest.metadata.name == name
        document = StatusDocument(
            kind=manifest.kind,
            name=manifest.metadata.name,
            run_id=workflow.run_id(manifest),
            phase="Failed" if refused else "Succeeded",
            metrics=Metrics(evaluation=(BITS,)),
            model=ModelState(name="small", version=2, digest="sha256:" + "0" * 64),
        )
        for sink in sinks:
            sink(document)
        if refused:
            raise GateFailedError("a gate said no")
        return document

    monkeypatch.setattr(workflow, "run", run)


def test_programs_get_the_status_of_a_job_that_failed(tmp_path: Path) -> None:
    result = _run(tmp_path, ["check"], "-o", "json")
    assert isinstance(result.exception, NotFoundError)
    (document,) = json.loads(result.stdout)
    assert (document["name"], document["phase"]) == ("check", "Failed")
    assert document["lastFailure"]["message"] == str(result.exception)


def test_programs_get_the_status_of_the_jobs_before_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _gates_say_no_to("second", monkeypatch)
    result = _run(tmp_path, ["first", "second", "third"], "-o", "json")
    assert isinstance(result.exception, GateFailedError)
    assert [(one["name"], one["phase"]) for one in json.loads(result.stdout)] == [
        ("first", "Succeeded"),
        ("second", "Failed"),
    ]


def test_people_get_the_metrics_the_version_and_the_report_when_a_gate_says_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gates_say_no_to("check", monkeypatch)
    result = _run(tmp_path, ["check"])
    assert isinstance(result.exception, GateFailedError)
    assert "words/bits_per_byte 2.5000, 3 items\nmodel     registry://small@2\nrun " in result.stdout
    assert "report.html" in result.stdout
