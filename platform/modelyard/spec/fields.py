"""Walking the fields of the spec's classes by the names that manifests use."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from modelyard.spec.documents import Location
from modelyard.spec.parts import SpecPart

# Below these stand another program's words.
_FREE_FORM = {("spec", "model", "config"), ("spec", "sharding", "deepspeed"), ("spec", "runtime", "affinity")}


def part_class(annotation: Any) -> type[SpecPart] | None:
    """The part that a field holds, itself or in a list; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, SpecPart):
        return annotation
    if get_origin(annotation) in {Annotated, Union, types.UnionType, tuple}:
        found = (part_class(inner) for inner in get_args(annotation))
        return next((part for part in found if part is not None), None)
    return None


def fields_of(part: type[SpecPart]) -> Iterator[tuple[str, FieldInfo]]:
    """Fields under the names that manifests write."""
    return ((field.alias or name, field) for name, field in part.model_fields.items())


def field_at(part: type[SpecPart], location: Location) -> FieldInfo | None:
    """The field at a place below `part`, or whose mapping holds it; list indices are passed over."""
    here: type[SpecPart] | None = part
    found: FieldInfo | None = None
    for word in (word for word in location if isinstance(word, str)):
        if here is None and found is not None and get_origin(found.annotation) is dict:
            return found  # a key of one's own, as a label's
        found = dict(fields_of(here)).get(word) if here is not None else None
        here = part_class(found.annotation) if found is not None else None
    return found


def in_free_form(location: Location) -> bool:
    """Whether a place is below a field of another program's words: there null has its meaning."""
    return len(location) > 3 and location[:3] in _FREE_FORM


def part_at(part: type[SpecPart], location: Location) -> type[SpecPart] | None:
    """The part at a place below `part`."""
    if not any(isinstance(word, str) for word in location):
        return part
    field = field_at(part, location)
    return part_class(field.annotation) if field is not None else None
