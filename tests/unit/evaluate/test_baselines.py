"""A model beside a baseline, as the process with the resources evaluates them: the same documents, one by one."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard import infer
from modelyard.evaluate.task import BaselineTask, EvaluateTask, run_task
from modelyard.records import EvaluationRecord
from modelyard.spec import GateSpec, SourceSpec, SuiteSpec
from modelyard.text import train_tokenizer
from support.tiny_models import LINES, Bpe, write_tiny_model

TEXTS = [line * (1 + index % 3) for index, line in enumerate(LINES * 3)]
MARGINS = {"bits_per_byte": 100.0, "token_accuracy": 1.0, "perplexity": 1e12}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of one tokenizer, and the documents."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    write_tiny_model(root / "target", context=512, seed=0)
    write_tiny_model(root / "baseline", context=512, seed=1)
    (root / "heldout.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return root


def task(place: Path, baseline: BaselineTask | None, **margins: float) -> EvaluateTask:
    suite = SuiteSpec(name="heldout", task="perplexity", sources=(SourceSpec(name="t", path="heldout.jsonl"),))
    gates = [
        GateSpec.model_validate({"metric": f"heldout/{name}", "notWorseThanBaseline": {"margin": margin}})
        for name, margin in (margins or MARGINS).items()
    ]
    return EvaluateTask(
        model_folder=str(place / "target"), model_name="small@2", model_digest="sha256:2", root=str(place),
        suites=(suite.model_dump_json(by_alias=True),),
        gates=tuple(gate.model_dump_json(by_alias=True) for gate in gates),
        now="2026-01-01T00:00:00Z", baseline=baseline,
    )  # fmt: skip


def standing(place: Path, folder: str = "baseline") -> BaselineTask:
    return BaselineTask("small@1", "sha256:1", str(place / folder))


def run(asked: EvaluateTask) -> EvaluationRecord:
    record = run_task(asked, lambda *at: None)
    assert EvaluationRecord.from_json(record.to_json(), origin="x") == record
    return record


def figures(record: EvaluationRecord | Any) -> dict[str, float]:
    return {metric.metric: metric.value for metric in record.suites[0].metrics}


def test_both_are_scored_on_the_same_documents(place: Path) -> None:
    told: list[str] = []
    record = run_task(task(place, standing(place)), lambda doing, *at: told.append(doing))
    assert told == ["heldout (baseline)", "heldout"]
    assert record.verdict == "Passed"
    assert record.baseline is not None
    assert (record.baseline.model, record.baseline.model_digest) == ("small@1", "sha256:1")
    alone = run(replace(task(place, None), model_folder=str(place / "baseline"), gates=()))
    assert figures(record.baseline) == figures(alone)
    assert (set(record.suites[0].references), record.baseline.suites[0].references) == ({"xz_bits_per_byte"}, {})
    for gate in record.gates:
        assert gate.difference is not None
        name = gate.metric.partition("/")[2]
        assert gate.difference.value == pytest.approx(figures(record)[name] - figures(alone)[name])
        assert gate.difference.items == len(TEXTS)
        assert gate.difference.low is not None
        assert gate.difference.low <= gate.difference.value
        assert "against small@1" in gate.message


def test_a_worse_model_fails_and_the_better_one_passes(place: Path, tmp_path: Path) -> None:
    worse = write_tiny_model(tmp_path / "worse", context=512, seed=1, scale=30.0)
    asked = task(place, standing(place), bits_per_byte=0.1)
    found = run(replace(asked, model_folder=str(worse)))
    assert found.verdict == "Failed"
    assert "at most 0.1 worse was asked for" in found.gates[0].message
    assert run(replace(asked, baseline=BaselineTask("small@3", "sha256:3", str(worse)))).verdict == "Passed"


def test_the_two_are_never_in_memory_together(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Any]] = []
    together: list[int] = []
    real = infer.open_model

    def watched(*args: Any, **kwargs: Any) -> Any:
        gc.collect()
        together.append(sum(reference() is not None for reference in opened))
        model = real(*args, **kwargs)
        opened.append(weakref.ref(model.module))
        return model

    monkeypatch.setattr(infer, "open_model", watched)
    run(task(place, standing(place)))
    assert together == [0, 0]


def test_the_very_same_model_differs_by_nothing_and_is_scored_once(place: Path) -> None:
    told: list[str] = []
    same = BaselineTask("small@2", "sha256:2", str(place / "target"))
    record = run_task(task(place, same, bits_per_byte=0.0), lambda doing, *at: told.append(doing))
    assert told == ["heldout"]
    (gate,) = record.gates
    assert gate.difference is not None
    assert (gate.verdict, gate.difference.value, gate.difference.low, gate.difference.high) == ("Passed", 0.0, 0.0, 0.0)
    assert record.baseline is not None
    assert figures(record.baseline) == figures(record)


@pytest.mark.parametrize(("when", "verdict"), [("pass", "Passed"), ("fail", "Failed")])
def test_without_a_baseline_the_manifest_says_what_that_means(place: Path, when: Any, verdict: str) -> None:
    missing = "there is no registry://small@stable: model 'small' has no alias 'stable'"
    baseline = BaselineTask("registry://small@stable", missing=missing, when_missing=when)
    record = run(task(place, baseline, bits_per_byte=0.0))
    assert record.verdict == verdict
    assert missing in record.gates[0].message
    assert record.baseline is not None
    assert (record.baseline.missing, record.baseline.suites) == (missing, ())


def test_another_tokenizer_is_compared_by_the_byte_only(place: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", context=512, seed=1)
    train_tokenizer(LINES * 3, Bpe(vocab_size=300), other)
    record = run(task(place, BaselineTask("small@1", "sha256:1", str(other))))
    verdicts = {gate.metric.partition("/")[2]: gate.verdict for gate in record.gates}
    assert verdicts == {"bits_per_byte": "Passed", "token_accuracy": "Error", "perplexity": "Error"}
    assert all("compare heldout/bits_per_byte" in gate.message for gate in record.gates if gate.verdict == "Error")


def test_documents_that_only_one_could_score_are_counted(place: Path, tmp_path: Path) -> None:
    """A baseline whose numbers overflow scores nothing: that is an error in words, and no zero."""
    from safetensors.torch import load_file, save_file

    broken = write_tiny_model(tmp_path / "broken", context=512, seed=1)
    weights = load_file(broken / "model.safetensors")
    weights = {name: value * float("nan") if "norm" in name else value for name, value in weights.items()}
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    record = run(task(place, BaselineTask("small@1", "sha256:1", str(broken)), bits_per_byte=0.0))
    assert record.verdict == "Error"
    assert "no document of suite heldout was scored by both models: small@1: suite heldout" in record.gates[0].message
    assert f"{len(TEXTS)} not_finite" in record.gates[0].message
