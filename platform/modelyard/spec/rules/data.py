"""Rules of sources, validation and preparation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelyard.spec.datasets import ColumnsSpec, DataSpec, SourceSpec
from modelyard.spec.documents import Location
from modelyard.spec.rules.objections import Objection, repeated
from modelyard.spec.rules.references import check_path


def check_validation(data: DataSpec, place: Location) -> Iterator[Objection]:
    """At most one of sources and fraction."""
    validation = data.validation
    if validation.sources and validation.fraction is not None:
        yield Objection(
            (*place, "validation", "fraction"), "is set beside sources", "keep one of sources, fraction", True
        )
    yield from check_sources(validation.sources, (*place, "validation", "sources"), once=True)


def check_sources(sources: Sequence[SourceSpec], place: Location, *, once: bool = False) -> Iterator[Objection]:
    """Names differ, paths are local; `once`: documents that are only measured on are read once."""
    for index, source in enumerate(sources):
        here = (*place, index)
        if hasattr(source, "path"):
            yield from check_path(source.path, (*here, "path"))
        if once and getattr(source, "passes", 1.0) != 1.0:
            yield Objection((*here, "passes"), "must be 1 here: documents to measure on are read once", "leave it out")
        if hasattr(source, "columns"):
            yield from check_columns(source.columns, (*here, "columns"))
    yield from repeated([getattr(source, "name", f"#{index}") for index, source in enumerate(sources)], place)


def check_columns(columns: ColumnsSpec, place: Location) -> Iterator[Objection]:
    """causal-lm reads the text column only."""
    for name, field in ColumnsSpec.model_fields.items():
        if name != "text" and getattr(columns, name, None) is not None:
            yield Objection(
                (*place, field.alias or name),
                "belongs to objectives that are not built yet",
                "causal-lm reads text",
                True,
            )
