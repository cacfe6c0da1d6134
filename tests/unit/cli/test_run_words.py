"""What `modelyard run` says last."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.cli.run import _last_words, _whose
from modelyard.records import Condition, Metrics, MetricValue, StatusDocument
from modelyard.yard import RunFolder


def test_a_metric_without_an_interval_is_told_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = MetricValue(suite="heldout", metric="bits_per_byte", value=2.5, items=3)
    many = MetricValue(suite="heldout", metric="perplexity", value=9.0, low=8.5, high=9.5, items=300)
    document = StatusDocument(kind="TrainingJob", name="q", run_id="q-1", metrics=Metrics(evaluation=(few, many)))
    _last_words(document, RunFolder("q-1", tmp_path))
    said = capsys.readouterr().out
    assert "heldout/bits_per_byte 2.5000, 3 items" in said
    assert "heldout/perplexity 9.0000 [8.5000, 9.5000], 300 items" in said


def test_a_verdict_says_which_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    why = Condition(
        type="Passed", status="False", reason="GateFailed", last_transition_time="2026-01-01T00:00:00Z",
        message="heldout/perplexity is 9, at most 8 was asked for",
    )  # fmt: skip
    document = StatusDocument(kind="EvaluationJob", name="q", run_id="q-1", verdict="Failed", conditions=(why,))
    _last_words(document, RunFolder("q-1", tmp_path))
    assert "verdict   Failed: heldout/perplexity is 9, at most 8 was asked for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        ("kind: TrainingJob\nmetadata: {name: q}\nspec: {foo: 1}\n", ("TrainingJob", "q")),
        ("kind: TrainingJob\nmetadata: {name: q}\n---\nkind: EvaluationJob\n", ("TrainingJob", "q")),
        ("kind: TrainingJob\nmetadata: [q]\n", ("TrainingJob", "")),
        ("kind: {a: 1}\nmetadata: {name: 7}\n", ("", "")),
        ("- 1\n", ("", "")),
        ("{torn", ("", "")),
        ("", ("", "")),
    ],
)
def test_whose_status_a_refusal_is(tmp_path: Path, text: str, whose: tuple[str, str]) -> None:
    (tmp_path / "job.yaml").write_text(text)
    assert _whose(str(tmp_path / "job.yaml")) == whose
    assert _whose(str(tmp_path / "none.yaml")) == ("", "")
