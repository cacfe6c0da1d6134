"""The types as Python sees them: frozen, defaults that depend on others, the examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from modelyard.errors import ManifestError
from modelyard.spec import (
    EngineSpec,
    Metadata,
    ModelDeployment,
    ModelDeploymentSpec,
    ModelSpec,
    OptimizationSpec,
    TrainingJob,
    check,
    from_dict,
    load,
    local_notes,
)
from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, the

MINIMAL = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata: {name: least}
spec:
  objective: causal-lm
  model: {architecture: llama}
  data: {train: [{name: text, path: texts/}]}
  optimization: {steps: 10}
  register: {name: least}
"""


def test_the_least_manifest_has_defaults_for_the_rest() -> None:
    job: Any = the(MINIMAL)
    assert job.spec.model.tokenizer.train.vocab_size == 4096
    assert job.spec.optimization.sequences_per_step(job.spec.data.sequence_length) == 8
    assert job.spec.workers.count == 1
    assert job.spec.register.from_ == "last"
    assert job.spec.data.validation.fraction is None


def test_manifests_are_frozen() -> None:
    job: Any = the(TRAINING)
    with pytest.raises(pydantic.ValidationError):
        job.spec.optimization.seed = 3
    with pytest.raises(pydantic.ValidationError):
        OptimizationSpec(setps=3)  # type: ignore[call-arg]


def test_defaults_that_depend_on_others() -> None:
    assert ModelSpec(from_="folder").tokenizer is None
    assert OptimizationSpec(steps=1, global_batch_tokens=512).sequences_per_step(64) == 8
    assert OptimizationSpec(steps=1, global_batch_tokens=512).global_batch_examples is None
    assert ModelDeploymentSpec(model="folder").replicas == 1


def test_a_manifest_made_in_python_is_checked_like_a_file() -> None:
    good = ModelDeployment(metadata=Metadata(name="a"), spec=ModelDeploymentSpec(model="registry://m@1"))
    check(good)
    engine = EngineSpec(name="vllm")
    bad = ModelDeployment(metadata=Metadata(name="a"), spec=ModelDeploymentSpec(model="registry://m@1", engine=engine))
    with pytest.raises(ManifestError, match=r"spec\.engine\.name: vllm is not built yet"):
        check(bad)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1}])
def test_values_that_yaml_cannot_hold_are_refused(value: object) -> None:
    document: Any = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "a"},
        "spec": {
            "objective": "causal-lm",
            "model": {"architecture": "llama", "config": {"rms_norm_eps": value}},
            "data": {"train": [{"name": "t", "path": "t"}]},
            "optimization": {"steps": 1},
            "register": {"name": "a"},
        },
    }
    with pytest.raises(ManifestError, match=r"spec\.model\.config\.rms_norm_eps"):
        from_dict(document)


def test_what_this_machine_does_not_use_is_said() -> None:
    text = TRAINING.replace("  register:", "  storage: {claimName: team}\n  runtime: {image: x}\n  register:")
    notes = local_notes(the(text.replace("count: 2", "count: 2\n    perPod: 2")))
    assert len(notes) == 3
    assert all("not used on this machine" in note for note in notes)
    assert [local_notes(the(base)) for base in (TRAINING, EVALUATION, DEPLOYMENT)] == [[], [], []]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("autoscaling: {minReplicas: 0, maxReplicas: 3}", "spec.autoscaling is for clusters"),
        ("replicas: 0", "spec.replicas: 0 is for clusters"),
        ("replicas: 1\n  rollout: {evaluation: {suites: [{name: a, task: perplexity, sources: [{name: a, path: c/}]}],"
         " gates: [{metric: a/perplexity, atMost: 9}]}}", "spec.rollout.evaluation is for clusters"),
    ],
)  # fmt: skip
def test_what_only_a_cluster_does_with_a_deployment_is_said(written: str, words: str) -> None:
    (note,) = local_notes(the(DEPLOYMENT.replace("replicas: 1", written)))
    assert words in note
    assert "not used on this machine" in note


def test_the_examples_are_good_and_hold_no_nulls() -> None:
    folder = Path(__file__).parents[3] / "examples"
    manifests = {manifest.metadata.name: manifest for manifest in load(sorted(folder.glob("*.yaml")))}
    quickstart: Any = next(m for m in manifests.values() if isinstance(m, TrainingJob))
    assert quickstart.spec.evaluation.gates[0].at_most == 2.5
    assert all("null" not in path.read_text() for path in folder.glob("*.yaml"))
