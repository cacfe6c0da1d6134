"""Evaluations of a tiny model: equal to transformers alone, deterministic, honest about what could not be scored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelyard.data.shards import SplitWriter
from modelyard.errors import InvalidInputError
from modelyard.evaluate import evaluate
from modelyard.infer import Model, open_model
from modelyard.records import EvaluationRecord
from modelyard.spec import GateSpec, SourceSpec, SuiteSpec
from support.tiny_models import LINES, write_tiny_model

TEXTS = [line * (1 + index % 3) for index, line in enumerate(LINES * 3)]
FACTS: dict[str, Any] = {"now": "2026-01-01T00:00:00Z", "model_name": "tiny@1", "model_digest": "sha256:0"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.set_num_threads(1)
    return open_model(write_tiny_model(tmp_path_factory.mktemp("model"), context=512))


def suite_of(*lines: str, root: Path, name: str = "heldout") -> SuiteSpec:
    (root / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return SuiteSpec(name=name, task="perplexity", sources=(SourceSpec(name=name, path=f"{name}.jsonl"),))


def lines_of(texts: list[str]) -> list[str]:
    return [json.dumps({"text": text}) for text in texts]


def write_dataset(folder: Path, model: Model) -> Path:
    model.tokenizer.save(folder / "tokenizer")
    for split, texts in (("train", TEXTS), ("validation", TEXTS[:7])):
        writer = SplitWriter(folder / split, model.tokenizer, ["a"])
        for text in texts:
            writer.add(model.tokenizer.encode(text), source=0, text_bytes=len(text.encode()), digest=bytes(32))
        writer.finish()
    return folder


def metric(record: EvaluationRecord, name: str) -> float:
    return next(m.value for m in record.suites[0].metrics if m.metric == name)


def test_metrics_equal_transformers_alone(model: Model, tmp_path: Path) -> None:
    record = evaluate(model, [suite_of(*lines_of(TEXTS), root=tmp_path)], root=tmp_path, **FACTS)
    module = transformers.AutoModelForCausalLM.from_pretrained(model.folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.folder)
    nats = tokens = hits = 0.0
    for text in TEXTS:
        ids = [model.tokenizer.bos_id, *tokenizer(text, add_special_tokens=False).input_ids, model.tokenizer.eos_id]
        with torch.no_grad():
            logprobs = module(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        targets = torch.tensor(ids[1:])
        nats -= float(logprobs.gather(1, targets[:, None]).sum())
        hits += int((logprobs.argmax(-1) == targets).sum())
        tokens += len(targets)
    assert metric(record, "perplexity") == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert metric(record, "token_accuracy") == pytest.approx(hits / tokens)
    assert metric(record, "bits_per_byte") == pytest.approx(
        nats / math.log(2) / sum(len(text.encode()) for text in TEXTS), rel=1e-5
    )
    assert record.verdict is None
    assert record.suites[0].items == len(TEXTS)
    assert set(record.suites[0].references) == {"xz_bits_per_byte"}


def test_the_same_evaluation_twice_is_the_same_record(model: Model, tmp_path: Path) -> None:
    suite = suite_of(*lines_of(TEXTS), root=tmp_path)
    once, twice = (evaluate(model, [suite], root=tmp_path, clock=lambda: 0.0, **FACTS).to_json() for _ in range(2))
    assert once == twice
    assert EvaluationRecord.from_json(once, origin="x").to_json() == once


def test_the_validation_split_and_its_references(model: Model, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", model)
    suite = SuiteSpec(name="heldout", task="perplexity")
    told: list[tuple[str, int, int]] = []
    record = evaluate(
        model, [suite], root=tmp_path, dataset_folder=dataset, progress=lambda *at: told.append(at), **FACTS
    )
    assert told[-1] == ("heldout", 7, 7)
    from_texts = evaluate(model, [suite_of(*lines_of(TEXTS[:7]), root=tmp_path)], root=tmp_path, **FACTS)
    assert metric(record, "bits_per_byte") == pytest.approx(metric(from_texts, "bits_per_byte"))
    counts = np.zeros(model.tokenizer.vocab_size)
    for text in TEXTS:
        for token in (*model.tokenizer.encode(text), model.tokenizer.eos_id):
            counts[token] += 1
    bits = -sum(
        math.log2((counts[token] + 1) / (counts.sum() + len(counts)))
        for text in TEXTS[:7]
        for token in (*model.tokenizer.encode(text), model.tokenizer.eos_id)
    )
    assert record.suites[0].references["unigram_bits_per_byte"] == pytest.approx(
        bits / sum(len(text.encode()) for text in TEXTS[:7])
    )


def test_bits_per_byte_counts_the_bytes_that_were_read(model: Model, tmp_path: Path) -> None:
    """Not those that a tokenizer which drops accents gives back: bits per byte would not be those of the text."""
    dataset = write_dataset(tmp_path / "data", model)
    suite = SuiteSpec(name="heldout", task="perplexity")
    record = evaluate(model, [suite], root=tmp_path, dataset_folder=dataset, **FACTS)
    sizes = dataset / "validation" / "textBytes.npy"
    np.save(sizes, np.load(sizes) * 2)
    doubled = evaluate(model, [suite], root=tmp_path, dataset_folder=dataset, **FACTS)
    assert metric(doubled, "bits_per_byte") == pytest.approx(metric(record, "bits_per_byte") / 2)


def test_what_cannot_be_scored_is_counted_with_its_reason(model: Model, tmp_path: Path) -> None:
    suite = suite_of(*lines_of(TEXTS), "{broken", json.dumps({"title": "no text"}), root=tmp_path)
    gate = GateSpec(metric="heldout/bits_per_byte", at_most=100.0)
    record = evaluate(model, [suite], [gate], root=tmp_path, **FACTS)
    assert record.suites[0].unscored == 2
    assert record.suites[0].unscored_reasons == {"broken_json": 1, "missing_text": 1}
    assert record.verdict == "Error"
    lenient = evaluate(model, [suite], [gate], root=tmp_path, max_unscored_fraction=0.5, **FACTS)
    assert lenient.verdict == "Passed"
    assert metric(lenient, "bits_per_byte") == metric(record, "bits_per_byte")


def test_blank_documents_are_nobodys_fault(model: Model, tmp_path: Path) -> None:
    suite = suite_of(*lines_of([*TEXTS, " ", ""]), root=tmp_path)
    record = evaluate(model, [suite], [GateSpec(metric="heldout/perplexity", at_least=1.0)], root=tmp_path, **FACTS)
    assert record.verdict == "Passed"
    assert record.suites[0].unscored_reasons == {"empty_text": 2}


def test_a_suite_of_nothing_is_an_error_in_words(model: Model, tmp_path: Path) -> None:
    suite = suite_of("{broken", root=tmp_path)
    record = evaluate(model, [suite], root=tmp_path, **FACTS)
    assert record.verdict == "Error"
    assert record.suites[0].message == "suite heldout scored no documents: 1 could not be scored (1 broken_json)"
    assert record.suites[0].metrics == ()


def test_a_suite_without_sources_anywhere_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="suite heldout names no sources"):
        evaluate(model, [SuiteSpec(name="heldout", task="perplexity")], root=tmp_path, **FACTS)


def test_few_documents_decide_nothing(model: Model, tmp_path: Path) -> None:
    suite = suite_of(*lines_of(TEXTS[:3]), root=tmp_path)
    gate = GateSpec(metric="heldout/bits_per_byte", at_most=100.0)
    assert evaluate(model, [suite], [gate], root=tmp_path, **FACTS).verdict == "Inconclusive"
