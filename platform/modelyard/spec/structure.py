"""Plain values → a manifest's class, or every fault of structure: unknown fields, wrong types, bounds, missing ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from modelyard.errors import Fault
from modelyard.spec.documents import UNREADABLE, Document, Location, Unreadable
from modelyard.spec.fields import field_at, fields_of, in_free_form, part_at, part_class
from modelyard.spec.parts import SpecPart
from modelyard.spec.wording import listing, nearest, wrong_value


class Fitting(NamedTuple):
    """A document held against its class: `part` is all that can be read of it, `whole` when that is everything."""

    part: SpecPart
    whole: bool
    faults: list[Fault]


def fit(document: Document, kind: type[SpecPart]) -> Fitting:
    """Hold a document against its class."""
    holes = {place: words for place, leaf in _leaves(document.value, ()) if (words := _hole(place, leaf)) is not None}
    faults = [document.fault(place, *words) for place, words in holes.items() if words[0]]
    value = _without(document.value, (), set(holes))
    errors: list[dict[str, Any]] = []
    part: SpecPart | None = None
    try:
        part = kind.model_validate(value, by_name=False)
    except ValidationError as error:
        errors = [dict(item) for item in error.errors(include_url=False)]
    faults += [_fault(document, kind, item) for item in errors if tuple(item["loc"]) not in holes]
    if part is None or holes:
        part = salvage(kind, value, [*holes, *(_meant(kind, item) for item in errors)])
    return Fitting(part, not errors and not holes, faults)


def _meant(kind: type[SpecPart], item: dict[str, Any]) -> Location:
    """The field that is at fault: of a misspelt one, the field that was meant."""
    location: Location = tuple(item["loc"])
    if item["type"] != "extra_forbidden":
        return location
    owner = part_at(kind, location[:-1]) or kind
    return (*location[:-1], nearest(str(location[-1]), dict(fields_of(owner))) or location[-1])


def _hole(place: Location, leaf: Any) -> tuple[str, str] | None:
    """Why a plain value cannot be read (no words when that was told already); None when it can."""
    if isinstance(leaf, Unreadable):
        return "", ""
    if leaf is None and not in_free_form(place):
        return "nothing stands here", "give it a value or leave the field out"
    if isinstance(leaf, float) and not math.isfinite(leaf):
        return f"is {leaf}, must be a finite number", ""
    if leaf is not None and not isinstance(leaf, str | int | float | bool):
        return f"is of type {type(leaf).__name__}, which YAML cannot hold", "use text, numbers, lists and mappings"
    return None


def _leaves(value: Any, place: Location) -> Iterator[tuple[Location, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*place, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, (*place, index))
    else:
        yield place, value


def _without(value: Any, place: Location, holes: set[Location]) -> Any:
    """The same without the holes; items of lists keep their number, as None."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if (*place, key) not in holes}
        return {key: _without(item, (*place, key), holes) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [
            None if (*place, index) in holes else _without(item, (*place, index), holes)
            for index, item in enumerate(value)
        ]
    return value


def salvage(cls: type[SpecPart], value: Any, bad: list[Location]) -> SpecPart:
    """What of a faulty value can be read: fields at fault are absent, and reading one raises AttributeError.

    The rules between fields run on it, so that their faults are told together with those of structure.
    """
    fields: dict[str, Any] = {}
    absent: list[str] = []
    for name, field in cls.model_fields.items():
        key = field.alias or name
        below = [place[1:] for place in bad if place[:1] == (key,)]
        if key in value and not below:
            fields[name] = _validator(field).validate_python(value[key], by_name=False, by_alias=True)
        elif key in value:
            fields[name] = _salvage_field(field, value[key], below)
        elif not below and not field.is_required():
            continue
        absent += [name] if fields.get(name, UNREADABLE) is UNREADABLE else []
    made = cls.model_construct(None, **fields)
    for name in absent:
        made.__dict__.pop(name, None)
    return made


def _validator(field: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(annotation)


def _salvage_field(field: FieldInfo, value: Any, bad: list[Location]) -> Any:
    part = part_class(field.annotation)
    if () in bad:
        return UNREADABLE
    if part is None:
        return value if isinstance(value, dict) else UNREADABLE
    if isinstance(value, dict):
        return salvage(part, value, bad)
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        below = [[place[1:] for place in bad if place[:1] == (index,)] for index in range(len(value))]
        return tuple(salvage(part, item, places) for item, places in zip(value, below, strict=True))
    return UNREADABLE


def _fault(document: Document, cls: type[SpecPart], item: dict[str, Any]) -> Fault:
    location: Location = tuple(item["loc"])
    if item["type"] == "extra_forbidden":
        return _unknown(document, cls, location)
    if item["type"] == "missing" and location and isinstance(location[-1], int):
        return document.fault(location[:-1], f"is a list of {len(item['input'])}, must have more items")
    if item["type"] == "missing":
        field = field_at(cls, location)
        words = f": {field.description}" if field is not None and field.description else ""
        return document.fault(location, "is missing", f"add {location[-1]}{words}".rstrip("."))
    message, fix = wrong_value(item)
    return document.fault(location, message, fix)


def _unknown(document: Document, cls: type[SpecPart], location: Location) -> Fault:
    owner = part_at(cls, location[:-1]) or cls
    names = [name for name, _ in fields_of(owner)]
    near = nearest(str(location[-1]), names)
    fix = f"did you mean {near}?" if near else f"known here: {listing(names)}"
    return document.fault(location, "is not a field", fix, key=True)
