"""A status made to fit its schema: the server refuses a whole status for one value, and a refused one tells nobody.

What a driver wrote passes through here before it is a custom resource's: torn, huge and newer documents lose what
does not fit, and only that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from modelyard_operator.kinds.objects import Json
from modelyard_operator.kinds.schema import Schema
from modelyard_operator.kinds.statuses import status_schema

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"  # RFC 3339
_UNFIT = object()
_LARGEST_INTEGER = 2**63 - 1  # the server reads whole numbers as int64


def fitted(kind: str, status: Json) -> dict[str, Any]:
    """The status of an object of `kind` without what its schema refuses or would drop; long texts and lists are cut."""
    made: dict[str, Any] = _fit(status, _schema(kind))
    return made


@cache
def _schema(kind: str) -> Schema:
    return status_schema(kind)


def _fit(value: Any, schema: Schema) -> Any:
    """The value as far as the schema takes it; _UNFIT when it takes nothing of it."""
    kind: str = schema["type"]
    of_type: bool = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not of_type:
        return _UNFIT
    match kind:
        case "object":
            return _fit_mapping(value, schema)
        case "array":
            return _fit_list(value, schema)
        case "string":
            return _fit_text(value, schema)
        case _:
            return value if _is_in_range(value, schema) else _UNFIT


def _fit_mapping(value: Json, schema: Schema) -> Any:
    known = {name: _fit(value[name], below) for name, below in schema["properties"].items() if name in value}
    kept = {name: item for name, item in known.items() if item is not _UNFIT}
    return kept if set(schema.get("required", ())) <= kept.keys() else _UNFIT


def _fit_list(value: Sequence[Any], schema: Schema) -> list[Any]:
    items = [_fit(item, schema["items"]) for item in value]
    kept = [item for item in items if item is not _UNFIT]
    if keys := schema.get("x-kubernetes-list-map-keys"):  # of items with the same keys the first stays
        first: dict[Any, Any] = {}
        for item in kept:
            first.setdefault(tuple(item[key] for key in keys), item)
        kept = list(first.values())
    return kept[: schema["maxItems"]]


def _fit_text(value: str, schema: Schema) -> Any:
    whole = value.encode(errors="replace").decode()  # half a surrogate pair is no text that a server takes
    if "enum" in schema:
        return whole if whole in schema["enum"] else _UNFIT
    cut = whole[: schema["maxLength"]]
    if len(cut) < schema.get("minLength", 0) or ("pattern" in schema and not re.fullmatch(schema["pattern"], cut)):
        return _UNFIT
    return cut if "format" not in schema or _is_time(cut) else _UNFIT


def _is_in_range(value: float, schema: Schema) -> bool:
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return False
    return math.isfinite(value) and value >= schema.get("minimum", -math.inf)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return re.fullmatch(_TIME, text) is not None
