"""What each field is, in words: type, default, bounds, meaning. Feeds `modelyard explain` and the reference."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from modelyard.spec.fields import fields_of, part_class
from modelyard.spec.parts import SpecPart
from modelyard.spec.wording import PATTERN_WORDS

# Defaults that depend on other fields, which the types cannot state.
DEPENDENT = {
    (
        "ModelSpec",
        "tokenizer",
    ): "train: {algorithm: bpe, vocabSize: 4096} beside architecture; the model's own beside from",
    ("OptimizationSpec", "globalBatchExamples"): "8 when globalBatchTokens is not set either",
    ("ModelDeploymentSpec", "replicas"): "1 without autoscaling",
    ("WorkersSpec", "minCount"): "count",
    ("SuiteSpec", "sources"): "in a TrainingJob the documents of data.validation",
    ("ScheduleSpec", "decaySteps"): "a tenth of the steps after the warm-up",
}
# What the types allow and the rules refuse so far; the fields stand so that manifests keep their form.
NOT_BUILT = {
    **{("TrainingJobSpec", name): "Not built yet." for name in (
        "maskedLm", "seq2seq", "chat", "textClassification", "tokenClassification", "questionAnswering", "preference",
        "distillation", "suspend",
    )},
    ("TrainingJobSpec", "objective"): "So far causal-lm only.",
    ("ModelSpec", "module"): "Not built yet.",
    ("ModelSpec", "adapter"): "Not built yet.",
    ("ModelSpec", "from"): "hf:// is not built yet.",
    ("TokenizerSpec", "from"): "hf:// is not built yet.",
    ("DataSpec", "prepare"): "Not built yet.",
    ("OptimizationSpec", "precision"): "fp16 is not built yet.",
    ("OffloadSpec", "optimizer"): "So far none only.",
    ("OffloadSpec", "parameters"): "So far none only.",
    ("ShardingSpec", "sequenceParallel"): "So far 1 only.",
    ("WorkersSpec", "minCount"): "Below count not built yet.",
    ("EvaluationSpec", "gates"): "A TrainingJob has no baseline to compare with.",
    ("TargetSpec", "endpoint"): "Not built yet.",
    ("EvaluationJobSpec", "promote"): "Not built yet.",
    ("EvaluationJobSpec", "suspend"): "Not built yet.",
    ("EngineSpec", "name"): "So far transformers only.",
    ("EngineSpec", "precision"): "fp16 is not built yet.",
    ("ModelDeploymentSpec", "autoscaling"): "Cluster only.",
    ("RolloutSpec", "strategy"): "So far surge only.",
    ("RolloutSpec", "evaluation"): "Cluster only.",
    ("ApiSpec", "keysFile"): "Not built yet.",
    ("ApiSpec", "keysSecretRef"): "Not built yet.",
}  # fmt: skip
_ENVELOPE = ("apiVersion", "kind")  # have a default in Python, and must stand in a file
_TYPES = {"integer": "integer", "number": "number", "string": "string", "boolean": "boolean", "object": "mapping"}


class FieldDescription(NamedTuple):
    """One field: `kind` is its type in words, `allowed` its values or bounds, `part` the class below it."""

    name: str
    kind: str
    required: bool
    default: str
    allowed: str
    meaning: str
    part: type[SpecPart] | None


def describe(part: type[SpecPart]) -> list[FieldDescription]:
    """The fields of a part, in their order."""
    return [_describe(part, name, field) for name, field in fields_of(part)]


def summary(part: type[BaseModel]) -> str:
    """What a part is for: its docstring's first line."""
    return (inspect.getdoc(part) or "").partition("\n")[0]


def walk(part: type[SpecPart], path: str = "") -> Iterator[tuple[str, FieldDescription]]:
    """Every field below a part with its path from there, depth first."""
    for field in describe(part):
        here = f"{path}.{field.name}" if path else field.name
        yield here, field
        if field.part is not None:
            yield from walk(field.part, here + ("[]" if field.kind.startswith("list") else ""))


def _describe(part: type[SpecPart], name: str, field: FieldInfo) -> FieldDescription:
    below = part_class(field.annotation)
    schema = {} if below is not None else _leaf_schema(part, name)
    words = _type_words(field, below, schema)
    default = DEPENDENT.get((part.__name__, name)) or _default(field)
    meaning = " ".join(filter(None, (field.description, NOT_BUILT.get((part.__name__, name)))))
    required = field.is_required() or (name in _ENVELOPE and "spec" in part.model_fields)
    return FieldDescription(name, words, required, "" if required else default, _allowed(schema), meaning, below)


@cache
def _part_schema(part: type[SpecPart]) -> Any:
    return TypeAdapter(part).json_schema(by_alias=True)


def _leaf_schema(part: type[SpecPart], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = _part_schema(part)["properties"][name]
    choices = [item for item in schema.get("anyOf", ()) if item != {"type": "null"}]
    return choices[0] if len(choices) == 1 else schema


def _type_words(field: FieldInfo, part: type[SpecPart] | None, schema: dict[str, Any]) -> str:
    listed = "tuple" in str(field.annotation)
    if part is not None:
        return f"list of {part.__name__}" if listed else part.__name__
    if "x-kubernetes-int-or-string" in schema:
        return "quantity"
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "integer" if all(isinstance(value, int) for value in values) else "string"
    if schema.get("type") == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {_TYPES.get(items.get('type', ''), 'value')}s"
    return _TYPES.get(schema.get("type", ""), "value")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value is None or isinstance(value, SpecPart):
        return ""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else '""'


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(str(value) or '""' for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if schema.get("pattern") in PATTERN_WORDS:
        return PATTERN_WORDS[schema["pattern"]]
    return _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    low = _bound(schema, "minimum", "at least ") or _bound(schema, "exclusiveMinimum", "more than ")
    high = _bound(schema, "maximum", "at most ") or _bound(schema, "exclusiveMaximum", "less than ")
    return ", ".join(part for part in (low, high) if part)


def _bound(schema: dict[str, Any], key: str, words: str) -> str:
    value = schema.get(key)
    if value is None or abs(value) >= 1e12:
        return ""
    return f"{words}{int(value) if float(value).is_integer() else value}"
