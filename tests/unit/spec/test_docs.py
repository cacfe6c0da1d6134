"""explain, the JSON Schema and the reference say what the types and rules do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from modelyard.errors import NotFoundError
from modelyard.spec import KINDS, TrainingJob, explain, json_schema, load
from modelyard.spec.descriptions import DEPENDENT, NOT_BUILT, describe, walk
from modelyard.spec.explaining import continuations
from modelyard.spec.reference import reference_markdown
from modelyard.spec.schemas import find_kind
from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, edited, faults_of

ROOT = Path(__file__).parents[3]
BASES = {"TrainingJob": TRAINING, "EvaluationJob": EVALUATION, "ModelDeployment": DEPLOYMENT}


def _plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def test_the_example_in_python_has_no_gate_that_so_few_steps_fail() -> None:
    said = re.search(r"^shorter = (\[.*\])$", (ROOT / "docs/how-to/python.md").read_text(), re.MULTILINE)
    assert said
    (job,) = load([ROOT / "examples/quickstart.yaml"], overrides=json.loads(said[1]))
    assert isinstance(job, TrainingJob)
    assert (job.spec.optimization.steps, job.spec.evaluation.gates) == (50, ())


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_words_and_a_type(kind: str) -> None:
    fields = list(walk(KINDS[kind]))
    assert len(fields) > 50
    for path, field in fields:
        assert field.meaning, path
        assert field.kind not in {"", "value", "list of values"}, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_can_be_explained(kind: str) -> None:
    for path, _ in walk(KINDS[kind]):
        text = explain(f"{kind}.{path}")
        assert f"KIND:     {kind}" in text
        assert f"FIELD:    {path.rpartition('.')[2]} <" in text


def test_explain_reads_as_kubectl_does() -> None:
    text = explain("tj.spec.optimization")
    assert "VERSION:  modelyard.dev/v1alpha1" in text
    assert "steps\t<integer>" in text
    assert "objective\t<string> -required-" in explain("trainingjobs.spec")
    assert "default: 2Gi" in explain("tj.spec.workers.resources.memory")
    assert "allowed: 0, 1, 2, 3" in explain("tj.spec.sharding.zeroStage")
    assert explain("tj.spec.data.train[0].path") == explain("tj.spec.data.train.path")
    assert "    train\t<TokenizerTrainSpec>" in explain("tj.spec.model", recursive=True)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("trainingjb", "did you mean TrainingJob"),
        ("tj.spec.optimisation", "did you mean trainingjob.spec.optimization"),
        ("tj.spec.optimization.steps.x", "modelyard explain trainingjob.spec.optimization.steps"),
        ("", "TrainingJob"),
    ],
)
def test_explain_names_the_nearest(path: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        explain(path)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("begun", "paths"),
    [
        ("t", ["trainingjob", "tj"]),
        ("tj.", ["tj.apiVersion", "tj.kind", "tj.metadata", "tj.spec"]),
        ("tj.spec.op", ["tj.spec.optimization"]),
        ("tj.spec.data.train.pa", ["tj.spec.data.train.path", "tj.spec.data.train.passes"]),
        ("tj.spec.nothing.x", []),
        ("x.y", []),
    ],
)
def test_completion_at_the_shell(begun: str, paths: list[str]) -> None:
    found = continuations(begun)
    assert [path for path in paths if path in found] == paths
    assert len(found) <= len(paths) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_takes_what_is_good(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))
    jsonschema.validate(_plain(BASES[kind]), json_schema(kind))
    jsonschema.validate(_plain(BASES[kind]), json_schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("zeroStage: 1", "zeroStge: 1"),
        ("zeroStage: 1", "zeroStage: 4"),
        ("steps: 100", "steps: many"),
        ("apiVersion: modelyard.dev/v1alpha1\n", ""),
        ("  objective: causal-lm\n", ""),
        ("seed: 7", "seed: null"),
    ],
)
def test_the_schema_refuses_what_the_types_refuse(old: str, new: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_plain(edited(TRAINING, old, new).text), json_schema("TrainingJob"))


def test_the_schema_holds_no_nulls() -> None:
    assert "null" not in str(json_schema()).replace("nullable", "")


def test_short_names() -> None:
    assert [find_kind(word) for word in ("tj", "EvaluationJobs", "modeldeployment")] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_names_every_field(kind: str) -> None:
    page = reference_markdown(kind)
    for path, field in walk(KINDS[kind]):
        assert f"| `{field.name}` |" in page, path
    anchors = [line.rpartition("{ #")[2].rstrip(" }") for line in page.splitlines() if line.startswith("## ")]
    assert len(anchors) == len(set(anchors))
    links = {piece.partition(")")[0] for piece in page.split("](#")[1:]}
    assert links <= set(anchors)


def test_notes_name_fields_that_exist() -> None:
    known = {
        (part.__name__, field.name)
        for kind in KINDS.values()
        for part in {kind, *(field.part for _, field in walk(kind) if field.part is not None)}
        for field in describe(part)
    }
    assert set(NOT_BUILT) <= known
    assert set(DEPENDENT) <= known


def test_the_examples_are_good() -> None:
    for base in BASES.values():
        assert faults_of(base) == ()
