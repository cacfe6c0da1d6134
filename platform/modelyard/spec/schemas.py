"""JSON Schema of the kinds, for editors and validators of others."""

from __future__ import annotations

from typing import Any

from modelyard.errors import NotFoundError
from modelyard.spec.manifests import API_VERSION, KINDS, SHORT_NAMES
from modelyard.spec.wording import nearest


def json_schema(kind: str | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one kind; without a kind, of a document of any of them."""
    if kind is not None:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema(find_kind(kind))}
    branches = [_schema(name) for name in KINDS]
    definitions = {name: part for branch in branches for name, part in branch.pop("$defs", {}).items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Manifests of {API_VERSION}",
        "oneOf": branches,
        "$defs": definitions,
    }


def find_kind(word: str) -> str:
    """`trainingjob`, `TrainingJobs`, `tj` → TrainingJob. NotFoundError names the nearest."""
    folded = word.lower()
    for kind in KINDS:
        if folded in {kind.lower(), kind.lower() + "s"}:
            return kind
    if folded in SHORT_NAMES:
        return SHORT_NAMES[folded]
    near = nearest(word, [*KINDS, *SHORT_NAMES])
    known = ", ".join(f"{kind} ({short})" for short, kind in SHORT_NAMES.items())
    raise NotFoundError(f"there is no kind {word}", hint=f"did you mean {near}?" if near else f"kinds: {known}")


def _schema(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = _plain(KINDS[kind].model_json_schema(by_alias=True))
    schema["title"] = kind
    schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind"})
    return schema


def _plain(value: Any) -> Any:
    """Without titles and nulls: what is unset is left out of a manifest, never null."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    choices = [item for item in value.get("anyOf", ()) if item != {"type": "null"}]
    rest = {
        key: item for key, item in value.items() if key != "anyOf" and not (key == "title" and isinstance(item, str))
    }
    if "default" in rest and rest["default"] is None:
        del rest["default"]
    if len(choices) == 1:
        rest = {**choices[0], **rest}
        rest.pop("title", None)
    elif choices:
        rest["anyOf"] = choices
    return {key: item if key in {"default", "enum", "const"} else _plain(item) for key, item in rest.items()}
