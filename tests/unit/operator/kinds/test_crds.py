"""The CRDs by themselves: equal to what is committed, structural, bounded, described. A real server judges them in
tests/integration/test_crds.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.spec import KINDS
from modelyard.spec.fields import fields_of, part_class
from modelyard.spec.placement import RuntimeSpec
from modelyard_operator.kinds import crds
from modelyard_operator.kinds.objects import OURS
from modelyard_operator.kinds.rules import ALWAYS, PART_RULES, WHILE_SUSPENDED, root_rules

ROOT = Path(__file__).parents[4]
KIND_NAMES = [resource.kind for resource in OURS]
FREE_FORM = {
    "spec.model.config",
    "spec.sharding.deepspeed",
    "spec.runtime.affinity",
    "spec.data.prepare[].options",  # its steps are not built; validate says so, which the schema must let through
}


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every schema below one with its path, itself first."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}".lstrip("."))
    for keyword, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield from nodes(schema[keyword], path + mark)


@cache
def schema_nodes(kind: str) -> list[tuple[str, Any]]:
    return list(nodes(crds.object_schema(kind)))


@cache
def templates() -> dict[str, str]:
    return dict(crds.chart_templates())


def test_the_chart_holds_what_is_generated() -> None:
    folder = ROOT / crds.CHART
    assert {path.name: path.read_text() for path in folder.iterdir()} == templates(), (
        "run: python -m modelyard_operator.kinds.crds --helm"
    )


def test_the_chart_keeps_them_and_can_leave_them_out() -> None:
    for text in templates().values():
        first, second, *body, last = text.rstrip("\n").split("\n")
        assert first.startswith("{{- /*")
        assert (second, last) == ("{{- if .Values.crds.install }}", "{{- end }}")
        assert "{{" not in "\n".join(body)
        crd = yaml.load("\n".join(body), yaml.CSafeLoader)
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_printed_they_read_back_the_same() -> None:
    command = [sys.executable, "-m", "modelyard_operator.kinds.crds"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # PyYAML reads YAML 1.1, as kubectl does: no word may turn into a boolean there
    assert list(yaml.load_all(printed, yaml.CSafeLoader)) == crds.definitions()


@pytest.mark.parametrize("resource", OURS, ids=str)
def test_each_fits_into_an_annotation(resource: Any) -> None:
    """kubectl apply writes the whole object into one, of at most 256 KiB."""
    assert len(json.dumps(crds.definition(resource))) < crds.LARGEST_BYTES // 2


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_everything_is_bounded(kind: str) -> None:
    for path, schema in schema_nodes(kind):
        if schema.get("type") == "string" and "enum" not in schema:
            assert "maxLength" in schema, path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema:
            assert "maxProperties" in schema, path


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_everything_is_described(kind: str) -> None:
    for path, schema in schema_nodes(kind):
        for name, below in schema.get("properties", {}).items():
            if f"{path}.{name}" != ".metadata":  # the server has its own words for it
                assert below["description"].endswith("."), f"{path}.{name}: {below['description']!r}"


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_nothing_is_a_reference_or_a_union(kind: str) -> None:
    for path, schema in schema_nodes(kind):
        assert not {"$ref", "allOf", "oneOf", "not", "const", "title", "prefixItems"} & schema.keys(), path
        assert ("anyOf" in schema) == ("x-kubernetes-int-or-string" in schema), path
        assert "type" in schema or "x-kubernetes-int-or-string" in schema, path


def test_unknown_fields_are_kept_in_few_places() -> None:
    kept = {path for kind in KIND_NAMES for path, schema in schema_nodes(kind) if _is_free(schema)}
    assert kept == FREE_FORM


def _is_free(schema: Any) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_only_scalars_outside_of_lists_have_defaults(kind: str) -> None:
    found = {path: schema["default"] for path, schema in schema_nodes(kind) if "default" in schema}
    assert found
    assert all(isinstance(value, str | int | float | bool) for value in found.values())
    assert not [path for path in found if "[]" in path or path.startswith("status")]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_required_is_what_the_spec_requires(kind: str) -> None:
    by_path = dict(schema_nodes(kind))
    assert by_path[""]["required"] == ["spec"]
    spec = part_class(KINDS[kind].model_fields["spec"].annotation)
    assert spec is not None
    required = [name for name, field in fields_of(spec) if field.is_required()]
    assert sorted(by_path["spec"]["required"]) == sorted(required)


@pytest.mark.parametrize("kind", ["TrainingJob", "EvaluationJob"])
def test_every_field_of_a_job_has_a_rule_about_changing_it(kind: str) -> None:
    """A new field is fixed after acceptance until someone decides otherwise."""
    spec = part_class(KINDS[kind].model_fields["spec"].annotation)
    assert spec is not None
    paths = {name for name, _ in fields_of(spec)} - {"runtime"} | {
        f"runtime.{name}" for name, _ in fields_of(RuntimeSpec)
    }
    ruled = {rule.field.removeprefix("spec.") for rule in root_rules(kind)}
    assert ruled == paths - ALWAYS
    loose = {rule.field.split(".")[1] for rule in root_rules(kind) if "while the job is suspended" in rule.message}
    assert loose == {path.partition(".")[0] for path in paths} & WHILE_SUSPENDED


def test_a_deployment_may_change_in_every_way() -> None:
    assert root_rules("ModelDeployment") == ()


def test_rules_name_fields_that_there_are() -> None:
    """A rule over a field that was renamed would fail only on a server."""
    found: dict[str, Any] = {}
    for kind in KIND_NAMES:
        for _, schema in schema_nodes(kind):
            for rule in schema.get("x-kubernetes-validations", ()):
                found[rule["rule"]] = schema
    for part, rules in PART_RULES.items():
        for rule in rules:
            schema = found[rule.expression]
            for name in re.findall(r"(?<![A-Za-z])self\.([A-Za-z0-9]+)", rule.expression):
                assert name in schema["properties"], (part, name)


def test_no_columns_share_a_name() -> None:
    for definition in crds.definitions():
        columns = definition["spec"]["versions"][0]["additionalPrinterColumns"]
        assert len({column["name"] for column in columns}) == len(columns)
        assert all(column["description"] for column in columns)


def test_deployments_scale_and_all_have_a_status() -> None:
    by_kind = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["subresources"] for crd in crds.definitions()}
    assert all(subresources["status"] == {} for subresources in by_kind.values())
    assert [kind for kind, subresources in by_kind.items() if "scale" in subresources] == ["ModelDeployment"]
    schema = dict(schema_nodes("ModelDeployment"))
    assert {schema["spec.replicas"]["type"], schema["status.replicas"]["type"]} == {"integer"}
    assert schema["status.selector"]["type"] == "string"
