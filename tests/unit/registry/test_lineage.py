"""From a version back to its documents; what is gone is said, not raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.records import DatasetRecord, SourceFile, SourceRecord, StageOutput, StageRecord
from modelyard.registry import Registry, open_registry, trace
from modelyard.yard import open_yard, publish, publish_stage, take_over

SPEC, TRAINING, DATASET, TOKENIZER, FILE = (f"sha256:{digit * 64}" for digit in "12345")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = open_registry(open_yard(tmp_path / "yard"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for number, parent in enumerate((None, "registry://quickstart@1", "hf://org/name"), start=1):
        registry.register(
            "quickstart", model, run_id=f"job-0000000{number}", spec_digest=SPEC, training_digest=TRAINING,
            dataset_digest=DATASET, code_version="0.1.0", parent=parent,
        )  # fmt: skip
    return registry


def _write_what_is_behind(registry: Registry) -> None:
    source = SourceRecord(
        name="stdlib", split="train", format="jsonl", records=3, documents=2, excluded={"empty": 1}, text_bytes=99,
        tokens=30, files=(SourceFile(path="corpus/a.jsonl", size_bytes=120, mtime_ns=1, sha256=FILE),),
    )  # fmt: skip
    dataset = DatasetRecord(
        digest=DATASET, tokenizer_digest=TOKENIZER, vocab_size=512, sources=(source,), files=(), created=""
    )
    publish(registry.yard.dataset_folder(DATASET) / "dataset.json", dataset.to_json())
    run = registry.yard.run("job-00000001")
    with take_over(run) as lease:
        output = StageOutput(name="dataset", path="data/4444", digest=DATASET)
        publish_stage(
            run,
            StageRecord(
                stage="prepare", input_digest=SPEC, attempt=lease.attempt, code_version="0.1.0", outputs=(output,),
                started="", completed="2026-01-01T00:00:00Z",
            ),
        )  # fmt: skip


def test_everything_behind_a_version_is_found(registry: Registry) -> None:
    _write_what_is_behind(registry)
    registry.set_alias("quickstart", "stable", 1, by="test")
    lineage = trace(registry.yard, registry.resolve("quickstart@1"))
    assert lineage.aliases == ("stable",)
    assert (lineage.run.run_id, lineage.run.drivers, lineage.run.missing) == ("job-00000001", 1, None)
    assert [stage.stage for stage in lineage.run.stages] == ["prepare"]
    assert lineage.run.stages[0].outputs[0].digest == DATASET
    assert (lineage.dataset.digest, lineage.dataset.tokenizer_digest) == (DATASET, TOKENIZER)
    assert lineage.dataset.sources[0].files[0].sha256 == FILE
    assert lineage.parent is None
    told = lineage.to_dict()
    assert told["dataset"]["sources"][0]["files"][0]["path"] == "corpus/a.jsonl"


def test_what_is_gone_is_said(registry: Registry) -> None:
    lineage = trace(registry.yard, registry.resolve("quickstart@1"))
    assert lineage.run.missing is not None
    assert lineage.run.missing.endswith("runs/job-00000001 is gone")
    assert lineage.dataset.missing is not None
    assert lineage.dataset.missing.endswith("is gone")


def test_parents_of_this_registry_are_followed_and_others_named(registry: Registry) -> None:
    second = trace(registry.yard, registry.resolve("quickstart@2"))
    assert second.parent is not None
    assert second.parent.version.version == 1
    third = trace(registry.yard, registry.resolve("quickstart@3"))
    assert (third.parent, third.parent_reference) == (None, "hf://org/name")


def test_a_dataset_folder_of_another_dataset_is_not_believed(registry: Registry) -> None:
    other = DatasetRecord(
        digest=DATASET[:40] + "f" * 31, tokenizer_digest=TOKENIZER, vocab_size=1, sources=(), files=(), created=""
    )
    publish(registry.yard.dataset_folder(DATASET) / "dataset.json", other.to_json())
    lineage = trace(registry.yard, registry.resolve("quickstart@1"))
    assert lineage.dataset.missing is not None
    assert "another dataset" in lineage.dataset.missing
