"""A run that another driver holds: refused at once on one machine, waited for on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard import spec, yard
from modelyard.errors import NotFoundError, RunHeldError, StoppedError
from modelyard.workflow import News, Note, RunOptions, StopRequest, run, run_id

JOB = """\
apiVersion: modelyard.dev/v1alpha1
kind: EvaluationJob
metadata: {name: check, namespace: team}
spec:
  target: {model: registry://none@stable}
  suites: [{name: words, task: perplexity, sources: [{name: words, path: words.jsonl, format: jsonl}]}]
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[spec.Manifest, yard.Yard]:
    (job,) = spec.parse(JOB, origin="job.yaml")
    return job, yard.open_yard(tmp_path / "yard")


def test_on_a_cluster_the_namespace_stands_before_the_runs_id(place: tuple[spec.Manifest, yard.Yard]) -> None:
    job, opened = place
    here = run_id(job)
    assert here.startswith("check-")
    assert run_id(job, "team") == f"team.{here}"
    assert yard.layout.job_name(run_id(job, "team")) == "check"
    assert opened.run(run_id(job, "team")).path.name == f"team.{here}"


def test_without_patience_a_held_run_is_refused(place: tuple[spec.Manifest, yard.Yard], tmp_path: Path) -> None:
    job, opened = place
    with yard.take_over(opened.run(run_id(job))), pytest.raises(RunHeldError):
        run(job, root=tmp_path, yard=opened)


def test_with_patience_it_is_waited_for_and_told_once(place: tuple[spec.Manifest, yard.Yard], tmp_path: Path) -> None:
    job, opened = place
    held = yard.take_over(opened.run(run_id(job, "team")))
    told: list[str] = []

    def listen(news: News) -> None:
        if isinstance(news, Note) and news.text.startswith("waiting"):
            told.append(news.text)
            held.release()

    # Past the hold it finds that there is no such model: it was let in.
    with pytest.raises(NotFoundError):
        run(
            job, root=tmp_path, yard=opened, listener=listen,
            options=RunOptions(namespace="team", patience_seconds=60.0),
        )  # fmt: skip
    assert len(told) == 1
    assert "is held by pid" in told[0]


def test_a_wish_to_stop_is_heard_while_waiting(place: tuple[spec.Manifest, yard.Yard], tmp_path: Path) -> None:
    job, opened = place
    stop = StopRequest()
    with yard.take_over(opened.run(run_id(job))), pytest.raises(StoppedError) as caught:
        run(
            job, root=tmp_path, yard=opened, stop=stop, listener=lambda news: stop.ask(143),
            options=RunOptions(patience_seconds=60.0),
        )  # fmt: skip
    assert caught.value.exit_code == 143
