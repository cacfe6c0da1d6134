"""The three CustomResourceDefinitions, generated from the spec's classes: one source for file, API and reference.

`modelyard-operator crds` prints them; `python -m modelyard_operator.kinds.crds --helm` writes the chart's templates.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from modelyard.spec import KINDS, json_schema
from modelyard.spec.descriptions import describe, summary
from modelyard.spec.fields import fields_of, part_class
from modelyard.spec.manifests import SHORT_NAMES
from modelyard.spec.parts import SpecPart
from modelyard_operator.kinds.columns import COLUMNS
from modelyard_operator.kinds.objects import OURS, Resource
from modelyard_operator.kinds.rules import PART_RULES, root_rules
from modelyard_operator.kinds.schema import Parts, Schema, part_schema
from modelyard_operator.kinds.statuses import status_schema

LARGEST_BYTES = 256 * 1024  # client-side apply writes the whole object into an annotation of at most so much
CHART = Path("helm/modelyard/templates/crds")
_KEEP = {"helm.sh/resource-policy": "keep"}  # an uninstalled chart leaves the CRDs, and with them everyone's jobs
_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def definitions() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of our kinds, as JSON."""
    return [definition(resource) for resource in OURS]


def definition(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    kind, version = resource.kind, resource.api_version.rpartition("/")[2]
    subresources = {"status": {}, **({"scale": _SCALE} if kind == "ModelDeployment" else {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": resource.plural,
                "singular": kind.lower(),
                "shortNames": [short for short, name in SHORT_NAMES.items() if name == kind],
                "categories": ["modelyard"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                    "subresources": subresources,
                    "additionalPrinterColumns": [column.to_dict() for column in COLUMNS[kind]],
                }
            ],
        },
    }


def object_schema(kind: str) -> Schema:
    """The structural schema of a whole object of a kind."""
    given = json_schema(kind)
    parts = Parts(given["$defs"], dict(_words(KINDS[kind])), PART_RULES)
    spec = part_schema(f"{kind}Spec", parts)
    name = part_schema("Metadata", parts)["properties"]["name"]
    made: Schema = {
        "type": "object",
        "description": summary(KINDS[kind]),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this format.", "maxLength": 64},
            "kind": {"type": "string", "description": "This kind.", "maxLength": 63},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": spec,
            "status": status_schema(kind),
        },
    }
    if rules := root_rules(kind):
        made["x-kubernetes-validations"] = [rule.to_dict() for rule in rules]
    return made


def _words(part: type[SpecPart]) -> Iterator[tuple[tuple[str, str], str]]:
    """What `modelyard explain` says of every field below a part, by class and field."""
    for field in describe(part):
        yield (part.__name__, field.name), field.meaning
    for _, field_info in fields_of(part):
        below = part_class(field_info.annotation)
        if below is not None:
            yield from _words(below)


def render() -> str:
    """All CRDs as one YAML text."""
    return "---\n".join(_yaml(crd) for crd in definitions())


def chart_templates() -> Mapping[str, str]:
    """The chart's templates by file name: Helm itself would never upgrade what lies in its `crds/` folder."""
    made = {}
    for crd in definitions():
        crd["metadata"]["annotations"] = dict(_KEEP)
        made[f"{crd['spec']['names']['plural']}.yaml"] = (
            "{{- /* Written by: python -m modelyard_operator.kinds.crds --helm */ -}}\n"
            f"{{{{- if .Values.crds.install }}}}\n{_yaml(crd)}{{{{- end }}}}\n"
        )
    return made


def _yaml(value: Any) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096  # a folded line would end in a blank
    out = io.StringIO()
    yaml.dump(value, out)
    return out.getvalue()


def main(words: list[str] | None = None) -> None:
    """Print the CRDs, or write the chart's templates."""
    parser = argparse.ArgumentParser(description="The CustomResourceDefinitions of modelyard.dev.")
    parser.add_argument("--helm", action="store_true", help=f"write {CHART}/*.yaml, from the project's root")
    if not parser.parse_args(words).helm:
        print(render(), end="")
        return
    CHART.mkdir(parents=True, exist_ok=True)
    for name, text in chart_templates().items():
        (CHART / name).write_text(text)


if __name__ == "__main__":
    main()
