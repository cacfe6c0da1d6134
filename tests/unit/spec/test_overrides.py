"""`--set`: full paths, typed as YAML, checked as the file is, faults named by the override."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.spec import parse
from modelyard.spec.overrides import read_path
from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, edited, faults_of


def _job(*overrides: str) -> Any:
    (job,) = parse(TRAINING, origin="job.yaml", overrides=overrides)
    return job.spec


def test_values_are_typed_as_yaml() -> None:
    spec = _job(
        "spec.optimization.steps=10",
        "spec.optimization.schedule.warmupSteps=2",
        "spec.optimization.optimizer.learningRate=1e-3",
        "spec.optimization.optimizer.betas=[0.8, 0.9]",
        "spec.data.packing=false",
        "spec.data.train[0].path=other/*.txt",
        "spec.data.train.1.passes=2.0",
        'spec.register.aliases=["a", b]',
        "spec.model.config.hidden_size=128",
        "spec.workers.resources.cpu=2",
    )
    assert spec.optimization.steps == 10
    assert spec.optimization.optimizer.learning_rate == 0.001
    assert spec.optimization.optimizer.betas == (0.8, 0.9)
    assert spec.data.packing is False
    assert spec.data.train[0].path == "other/*.txt"
    assert spec.data.train[1].passes == 2.0
    assert spec.register.aliases == ("a", "b")
    assert spec.model.config["hidden_size"] == 128
    assert spec.workers.resources.cpu == "2"


def test_what_is_not_there_yet_is_made() -> None:
    assert _job("spec.storage.claimName=team").storage.claim_name == "team"
    assert _job("spec.faultTolerance={maxRestarts: 0}").fault_tolerance.max_restarts == 0


def test_null_takes_a_field_out() -> None:
    spec = _job("spec.optimization.steps=null", "spec.optimization.epochs=2")
    assert (spec.optimization.steps, spec.optimization.epochs) == (None, 2.0)


@pytest.mark.parametrize("field", ["model.config", "sharding.deepspeed", "runtime.affinity"])
def test_null_takes_out_what_holds_another_programs_words(field: str) -> None:
    part, name = field.split(".")
    assert not getattr(getattr(_job(f"spec.{field}={{}}", f"spec.{field}=null"), part), name)


def test_null_below_another_programs_words_is_theirs() -> None:
    assert _job("spec.model.config.head_dim=null").model.config["head_dim"] is None


def test_one_text_is_not_taken_apart() -> None:
    with pytest.raises(UsageError, match="one text, not a list"):
        parse(TRAINING, origin="job.yaml", overrides="spec.optimization.steps=10")


def test_the_last_one_wins() -> None:
    assert _job("spec.optimization.seed=1", "spec.optimization.seed=2").optimization.seed == 2


def test_an_override_goes_to_the_documents_that_have_the_field() -> None:
    text = "---\n".join((TRAINING, EVALUATION, DEPLOYMENT))
    training, evaluation, deployment = parse(
        text, origin="x", overrides=["spec.workers.count=3", "spec.replicas=2", 'metadata.labels["a.b/c"]=d']
    )
    assert training.spec.workers.count == evaluation.spec.workers.count == 3  # type: ignore[union-attr]
    assert deployment.spec.replicas == 2  # type: ignore[union-attr]
    assert all(manifest.metadata.labels == {"a.b/c": "d"} for manifest in (training, evaluation, deployment))


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        ("spec.optimization.stps=10", "spec.optimization.stps", ("is not a field", "did you mean steps")),
        ("spec.optimization.steps=ten", "spec.optimization.steps", ('is "ten"', "whole number")),
        ("spec.optimization.steps=0", "spec.optimization.steps", ("at least 1",)),
        ("spec.optimization.steps=010", "spec.optimization.steps", ("octal",)),
        ("spec.optimization.globalBatchTokens=100", "spec.optimization.globalBatchTokens", ("sequences of 64",)),
        ("spec.model.config.hiden_size=64", "spec.model.config.hiden_size", ("did you mean hidden_size",)),
        ("spec.data.train[2].path=x", "spec.data.train[2].path", ("has 2 items",)),
        ("spec.data.train.first.path=x", "spec.data.train.first.path", ("spec.data.train", "is not a mapping")),
        ("spec.data[0]=x", "spec.data[0]", ("is not a list",)),
        ("spec.optimization.steps.x=1", "spec.optimization.steps.x", ("is not a mapping",)),
        ("spec.optimization.steps", "spec.optimization.steps", ("has no value", "path=value")),
        ("spec.optimization.steps=", "spec.optimization.steps", ("has no value",)),
        ("optimization.steps=10", "optimization.steps", ("full path",)),
        ("steps=10", "steps", ("full path",)),
        ("spec..steps=10", "spec..steps", ("not a path",)),
        ("spec.optimization.optimizer.betas=[0.9", "spec.optimization.optimizer.betas", ("is not YAML",)),
        ("spec.suspend=true", "spec.suspend", ("not built yet",)),
    ],
)
def test_a_wrong_override_is_one_fault_that_names_it(override: str, path: str, words: tuple[str, ...]) -> None:
    faults = faults_of(TRAINING, override)
    assert len(faults) == 1, faults
    assert faults[0].path == path
    assert faults[0].origin.startswith("--set ")
    assert override.partition("=")[0] in faults[0].origin
    assert faults[0].line == 0
    for word in words:
        assert word in str(faults[0])


def test_faults_of_the_file_and_of_overrides_are_told_together() -> None:
    text = edited(TRAINING, "zeroStage: 1", "zeroStage: 4").text
    origins = [fault.origin for fault in faults_of(text, "spec.optimization.seed=x")]
    assert origins == ["job.yaml", "--set spec.optimization.seed=x"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("spec.optimization.steps=ten", "--set spec.optimization.steps=ten: is "),
        ("spec.optimization.steps", "--set spec.optimization.steps: has no value"),
        ("spec.faultTolerance={maxRestrts: 0}", "maxRestrts: 0}: spec.faultTolerance.maxRestrts: is not"),
    ],
)
def test_a_place_that_the_override_names_is_named_once(override: str, words: str) -> None:
    (fault,) = faults_of(TRAINING, override)
    assert words in str(fault)


def test_an_override_mends_a_fault_of_the_file() -> None:
    assert faults_of(edited(TRAINING, "zeroStage: 1", "zeroStage: 4").text, "spec.sharding.zeroStage=3") == ()


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("spec.data.train[0].path", ("spec", "data", "train", 0, "path")),
        ("spec.data.train.0.path", ("spec", "data", "train", 0, "path")),
        ('metadata.labels["a.b/c"]', ("metadata", "labels", "a.b/c")),
        ("spec", ("spec",)),
        ("", None),
        (".spec", ("spec",)),
        ("spec.", None),
        ("spec[x]", None),
        ("spec data", None),
    ],
)
def test_paths(text: str, location: object) -> None:
    assert read_path(text) == location


def test_a_secret_is_not_repeated() -> None:
    secret = "hf_" + "a1B2" * 6
    faults = faults_of(TRAINING, f"spec.optimization.seed={secret}")
    assert any("looks like a secret" in fault.message for fault in faults)
    assert secret not in "".join(map(str, faults))
