"""JSON Schema as pydantic gives it → a structural schema as Kubernetes takes it.

Structural: every `$ref` written out, no unions but int-or-string, everything bounded, so that CEL's cost has a bound
too. Defaults for scalars only: one of a mapping would hide which fields were chosen, and one inside of a list's items
would make `kubectl apply` of the same file a change for ever (lists are compared whole).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.spec.parts import QUANTITY_PATTERN
from modelyard_operator.kinds.rules import CelRule

Schema = dict[str, Any]
_QUANTITY: Mapping[str, Any] = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "minimum": 0,
    "maxLength": 32,
    "pattern": f"^{QUANTITY_PATTERN}$",
}
_KEPT = ("type", "enum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "maxProperties", "format")
_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


@dataclass(frozen=True)
class Parts:
    """What stands beside a schema: its definitions, better words for their fields (by class and field), CEL rules (by
    class), and bounds for texts and lists that have none: of all by keyword, of some by `field.keyword`.
    """

    definitions: Mapping[str, Any]
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)
    rules: Mapping[str, Sequence[CelRule]] = field(default_factory=dict)
    bounds: Mapping[str, int] = field(default_factory=dict)


def part_schema(name: str, parts: Parts) -> Schema:
    """The structural schema of a class among the definitions."""
    given = parts.definitions[name]
    properties = {key: _property(name, key, value, parts) for key, value in given.get("properties", {}).items()}
    made: Schema = {"type": "object", "description": given.get("description", "")}
    if properties:
        made["properties"] = properties
    if given.get("required"):
        made["required"] = list(given["required"])
    if rules := parts.rules.get(name):
        made["x-kubernetes-validations"] = [rule.to_dict() for rule in rules]
    return made


def _property(owner: str, name: str, given: Any, parts: Parts) -> Schema:
    made = _value(given, name, parts)
    meaning = parts.words.get((owner, name)) or given.get("description", "")
    made["description"] = _joined(meaning, made.get("description", "")) if "properties" in made else meaning
    if isinstance(given.get("default"), str | int | float | bool):
        made["default"] = given["default"]
    return made


def _value(given: Any, name: str, parts: Parts) -> Schema:
    if "$ref" in given:
        return part_schema(given["$ref"].rpartition("/")[2], parts)
    if given.get("x-kubernetes-int-or-string"):
        return dict(_QUANTITY)
    if given.get("type") == "array":
        items = given.get("items") or given["prefixItems"][0]
        inside = without(_value(items, name, parts), "default")
        return _bounded({**_plain(given), "items": inside}, "maxItems", name, parts)
    if given.get("type") == "object":
        return {**_plain(given), **_inside(given["additionalProperties"], name, parts)}
    if given.get("type") == "string" and not {"enum", "const"} & given.keys():
        return _bounded(_plain(given), "maxLength", name, parts)
    return _plain(given)


def _inside(values: Any, name: str, parts: Parts) -> Schema:
    """Of a mapping with keys of one's own; values of any kind are another program's words, kept as they are."""
    if values is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    return {"additionalProperties": _value(values, name, parts)}


def _plain(given: Any) -> Schema:
    """What both dialects write alike; an exclusive bound is a bound with a flag here, a constant a choice of one."""
    made = {key: given[key] for key in _KEPT if key in given}
    if "const" in given:
        made["enum"] = [given["const"]]
    for bound, exclusive in _BOUNDS:
        if bound in given:
            made[bound] = given[bound]
        elif exclusive in given:
            made |= {bound: given[exclusive], exclusive: True}
    return made


def _bounded(made: Schema, key: str, name: str, parts: Parts) -> Schema:
    if key not in made and parts.bounds:
        made[key] = parts.bounds.get(f"{name}.{key}", parts.bounds[key])
    return made


def without(schema: Schema, keyword: str) -> Schema:
    """The schema without a keyword, at any depth; fields of that name stay."""
    made = {name: value for name, value in schema.items() if name != keyword}
    if "properties" in made:
        made["properties"] = {name: without(value, keyword) for name, value in made["properties"].items()}
    for below in ("items", "additionalProperties"):
        if below in made:
            made[below] = without(made[below], keyword)
    return made


def _joined(meaning: str, summary: str) -> str:
    """What a field is for, then what its class says; where both begin alike, what the class says in its place."""
    opening, dot, rest = meaning.partition(". ")
    first, second = (text.lower().rstrip(".") for text in (opening, summary))
    if first in second or first.split()[:5] == second.split()[:5]:
        return f"{summary} {rest}" if dot else summary
    return meaning if second in meaning.lower() else f"{meaning} {summary}"
