"""Plain values → a manifest's class, or every fault of structure: unknown fields, wrong types, bounds, missing ones."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from modelyard.errors import Fault
from modelyard.spec.documents import UNREADABLE, Document, Location, Unreadable
from modelyard.spec.manifests import Manifest
from modelyard.spec.parts import (
    JOB_NAME_PATTERN,
    NAME_PATTERN,
    QUANTITY_PATTERN,
    REFERENCE_PATTERN,
    SpecPart,
)

PATTERN_WORDS = {
    f"^{NAME_PATTERN}$": "a name: lower-case letters, digits and dashes, a letter or digit at both ends, at most 63",
    f"^{JOB_NAME_PATTERN}$": "a name: lower-case letters, digits and dashes, a letter first, no dash last, at most 63",
    f"^{QUANTITY_PATTERN}$": 'a Kubernetes quantity, as "500m", "2" or 4Gi',
    f"^{REFERENCE_PATTERN}$": "a reference without blanks at its ends",
}
WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (`name: value` lines)",
    "model_type": "a mapping (`name: value` lines)",
    "model_attributes_type": "a mapping (`name: value` lines)",
    "tuple_type": "a list (`- …` lines)",
    "finite_number": "a finite number",
}
BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def fit(document: Document, kind: type[SpecPart]) -> tuple[Manifest | None, SpecPart, list[Fault]]:
    """The manifest (None when anything is wrong), what of it can be read all the same, and the faults of structure."""
    nulls = list(_nulls(document.value, ()))
    value = _without_holes(document.value, ())
    faults = [document.fault(place, "nothing stands here", "give it a value or leave the field out") for place in nulls]
    try:
        manifest = kind.model_validate(value, by_name=False)
    except ValidationError as error:
        errors: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
        holes = {*nulls, *(place for place, hole in _leaves(document.value, ()) if isinstance(hole, Unreadable))}
        faults += [
            _fault(document, kind, item) for item in errors if not (item["type"] == "missing" and item["loc"] in holes)
        ]
        return None, salvage(kind, value, [tuple(item["loc"]) for item in errors]), faults
    whole: Any = manifest if not faults and not document.faults else None
    return whole, manifest, faults


def free_form(location: Location) -> bool:
    """Whether values below are another program's: there null has its meaning."""
    return location[:3] in {
        ("spec", "model", "config"),
        ("spec", "sharding", "deepspeed"),
        ("spec", "runtime", "affinity"),
    }


def _leaves(value: Any, place: Location) -> Iterator[tuple[Location, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*place, index))
    else:
        yield place, value


def _nulls(value: Any, place: Location) -> Iterator[Location]:
    return (
        where for where, leaf in _leaves(value, place) if leaf is None and not (free_form(where) and len(where) > 3)
    )


def _without_holes(value: Any, place: Location) -> Any:
    """The same without what was refused already; items of lists keep their number."""
    if isinstance(value, dict):
        kept = {
            key: item
            for key, item in value.items()
            if not isinstance(item, Unreadable) and (item is not None or (free_form(place)))
        }
        return {key: _without_holes(item, (*place, key)) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_holes(item, (*place, index)) for index, item in enumerate(value)]
    return value


def salvage(cls: type[SpecPart], value: Any, bad: list[tuple[int | str, ...]]) -> SpecPart:
    """What of a faulty value can be read: fields at fault are absent, and reading one raises AttributeError.

    The rules between fields run on it, so that their faults are told together with those of structure.
    """
    here = {location[0]: [place[1:] for place in bad if place[:1] == location[:1]] for location in bad if location}
    fields: dict[str, Any] = {}
    absent: list[str] = []
    for name, field in cls.model_fields.items():
        key = field.alias or name
        if key not in value:
            absent += [name] if field.is_required() else []
        elif key not in here:
            annotation: Any = Annotated[field.annotation, *field.metadata]
            fields[name] = TypeAdapter(annotation).validate_python(value[key], by_name=False, by_alias=True)
        else:
            part = _salvage_field(field, value[key], here[key])
            fields[name] = part
            absent += [name] if part is UNREADABLE else []
    made = cls.model_construct(None, **fields)
    for name in absent:
        made.__dict__.pop(name, None)
    return made


def _salvage_field(field: FieldInfo, value: Any, bad: list[tuple[int | str, ...]]) -> Any:
    part = part_class(field.annotation)
    if part is None or () in bad:
        return UNREADABLE
    if isinstance(value, dict):
        return salvage(part, value, bad)
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return tuple(
            salvage(part, item, [place[1:] for place in bad if place[:1] == (index,)])
            for index, item in enumerate(value)
        )
    return UNREADABLE


def part_class(annotation: Any) -> type[SpecPart] | None:
    """The part that a field holds, itself or in a list; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, SpecPart) else None
    if get_origin(annotation) in {Annotated, Union, types.UnionType, tuple}:
        found = (part_class(inner) for inner in get_args(annotation))
        return next((part for part in found if part is not None), None)
    return None


def _class_at(cls: type[SpecPart], location: tuple[int | str, ...]) -> type[SpecPart] | None:
    here: type[SpecPart] | None = cls
    for word in location:
        if isinstance(word, int):
            continue
        field = next((f for n, f in here.model_fields.items() if (f.alias or n) == word), None) if here else None
        here = part_class(field.annotation) if field else None
    return here


def field_names(cls: type[SpecPart]) -> list[str]:
    """Names of a part's fields as manifests write them."""
    return [field.alias or name for name, field in cls.model_fields.items()]


def nearest(word: str, known: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str | None:
    """The known word that was probably meant."""
    by_fold = {name.replace("_", "").replace("-", "").lower(): name for name in known}
    close = difflib.get_close_matches(word.replace("_", "").replace("-", "").lower(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def listing(words: list[str] | tuple[str, ...], most: int = 24) -> str:
    """Words for a message, not too many."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def shown(value: Any) -> str:
    """A value as a message shows it: as YAML would write it, short, and never the inside of something large."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:60] + "…" + text[-1]


def _fault(document: Document, cls: type[SpecPart], item: dict[str, Any]) -> Fault:
    location: Location = item["loc"]
    if item["type"] == "extra_forbidden":
        return _unknown(document, cls, location)
    if item["type"] == "missing":
        if location and isinstance(location[-1], int):
            return document.fault(location[:-1], f"has too few items: {location[-1] + 1} or more are needed", "")
        return document.fault(location, "is missing", _how_to_fill(cls, location))
    message, fix = _wrong_value(item)
    return document.fault(location, message, fix)


def _unknown(document: Document, cls: type[SpecPart], location: Location) -> Fault:
    owner = _class_at(cls, location[:-1]) or cls
    names = field_names(owner)
    near = nearest(str(location[-1]), names)
    fix = f"did you mean {near}?" if near else f"known here: {listing(names)}"
    return document.fault(location, "is not a field", fix, key=True)


def _how_to_fill(cls: type[SpecPart], location: Location) -> str:
    owner = _class_at(cls, location[:-1])
    field = next((f for n, f in owner.model_fields.items() if (f.alias or n) == location[-1]), None) if owner else None
    return f"add {location[-1]}: {field.description}" if field and field.description else "add it"


def _wrong_value(item: dict[str, Any]) -> tuple[str, str]:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    told = shown(value)
    if kind in BOUNDS:
        words, name = BOUNDS[kind]
        return (
            f"is {told}, must be {words} {_number(context[name])}",
            f"write a value of {words} {_number(context[name])}",
        )
    if kind == "literal_error":
        return _wrong_word(value, context["expected"])
    if kind == "string_pattern_mismatch":
        words = PATTERN_WORDS.get(context["pattern"], f"text like {context['pattern']}")
        return f"is {told}, must be {words}", ""
    if kind in {"string_too_long", "string_too_short"}:
        bound = f"at most {context['max_length']}" if "max_length" in context else f"at least {context['min_length']}"
        return f"is {told}, must have {bound} characters", ""
    if kind in {"too_long", "too_short"}:
        bound = f"at most {context['max_length']}" if "max_length" in context else f"at least {context['min_length']}"
        return f"has {context['actual_length']} items, must have {bound}", ""
    if kind in WORDS:
        return f"is {told}, must be {WORDS[kind]}", _conversion(kind, value)
    return f"is {told}: {item['msg']}", ""


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() and abs(bound) < 1e15 else str(bound)


def _wrong_word(value: Any, expected: str) -> tuple[str, str]:
    words = expected.replace(" or ", ", ").replace("'", "").split(", ")
    near = nearest(value, words) if isinstance(value, str) else None
    message = f"is {shown(value)}, must be {'one of ' if len(words) > 1 else ''}{', '.join(words)}"
    return message, f"did you mean {near}?" if near else f"write {'one of them' if len(words) > 1 else words[0]}"


def _conversion(kind: str, value: Any) -> str:
    """How to write the value so that it has the type asked for, when that is easy to say."""
    if kind == "string_type" and isinstance(value, int | float):
        return f'put it in quotes: "{shown(value)}"'
    if kind in {"int_type", "float_type", "int_from_float"} and isinstance(value, str):
        return "write the number without quotes or unit" if value[:1].isdigit() else "write a number"
    if kind == "int_from_float" or (kind == "int_type" and isinstance(value, float)):
        return f"write {round(value)}"
    if kind == "bool_type":
        return "write true or false, without quotes"
    if kind == "tuple_type":
        return "put a dash before each item, or brackets around them"
    return ""
