"""`--set spec.optimization.steps=10`: the one generic override, typed as YAML and checked as the file is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import Fault, UsageError
from modelyard.spec.documents import Document, Location, Mark, path_text, read_documents
from modelyard.spec.fields import field_at, in_free_form
from modelyard.spec.parts import SpecPart
from modelyard.spec.secrets import looks_secret

_STEP = re.compile(r'(?:^|\.)([A-Za-z_][\w/-]*)|\.?\[(\d{1,6})\]|\.(\d{1,6})(?=[.\[]|$)|\["([^"\]]+)"\]')


@dataclass(frozen=True)
class Override:
    """A value for a place of the manifest; `text` is how it was written."""

    text: str
    location: Location
    value: Any

    @property
    def origin(self) -> str:
        return _origin(self.text)


def _origin(text: str) -> str:
    """How faults name an override: as it was written, short, without a secret."""
    path, _, value = text.partition("=")
    if looks_secret(value):
        return f"--set {path}=(not shown)"
    return f"--set {text if len(text) <= 60 else text[:59] + '…'}"


def read_overrides(texts: Sequence[str]) -> tuple[list[Override], list[Fault]]:
    """Each `path=value`, and a fault for each that is none."""
    if isinstance(texts, str):  # a sequence of texts too: its characters
        raise UsageError("overrides is one text, not a list of them", hint='write ["spec.optimization.steps=10"]')
    overrides: list[Override] = []
    faults: list[Fault] = []
    for text in texts:
        read = _read(text)
        if isinstance(read, Fault):
            faults.append(read)
        else:
            overrides.append(read)
    return overrides, faults


def _read(text: str) -> Override | Fault:
    path, equals, value = text.partition("=")
    origin = _origin(text)
    if not equals:
        return Fault(origin, path, 0, 0, "has no value", "write --set path=value, as spec.optimization.steps=10")
    location = read_path(path.strip())
    if location is None or location[0] not in {"metadata", "spec"}:
        fix = "write the full path from metadata or spec, as spec.data.train[0].path"
        return Fault(origin, path, 0, 0, "is not a path into a manifest", fix)
    documents, faults = read_documents(value, origin=origin)
    broken = [*faults, *(fault for document in documents for fault in document.faults)]
    if broken:
        return Fault(origin, path, 0, 0, broken[0].message, broken[0].fix)
    if not value.strip():
        return Fault(
            origin, path, 0, 0, "has no value", 'write a value after =, null to take the field out, or "" for text'
        )
    return Override(text, location, documents[0].value if documents else None)


def read_path(text: str) -> Location | None:
    """`spec.data.train[0].path` (or `.0.`) as a location; None when it is not one. `["a.b/c"]` quotes a key."""
    steps: list[str | int] = []
    end = 0
    for step in _STEP.finditer(text):
        if step.start() != end:
            return None
        end = step.end()
        word, index, dotted, quoted = step.groups()
        steps.append(word or quoted or int(index or dotted))
    return tuple(steps) if steps and end == len(text) else None


def apply_overrides(
    documents: Sequence[Document], overrides: Sequence[Override], kinds: Mapping[str, type[SpecPart]]
) -> list[Fault]:
    """Put each value into every document whose kind has that field; when none has, into the first, which says so."""
    faults: list[Fault] = []
    for override in overrides:
        having = [document for document in documents if _has(document, override.location, kinds)]
        results = [_apply(document, override) for document in having or documents[:1]]
        faults += [result for result in results if result is not None]
    return faults


def _has(document: Document, location: Location, kinds: Mapping[str, type[SpecPart]]) -> bool:
    kind = kinds.get(str(document.value.get("kind"))) if isinstance(document.value, dict) else None
    if kind is None:
        return False
    return field_at(kind, location) is not None


def _apply(document: Document, override: Override) -> Fault | None:
    """Put the value in its place; mappings on the way are made, items of lists must be there. null takes it out."""
    here = document.value
    for depth, step in enumerate(override.location):
        last = depth == len(override.location) - 1
        if isinstance(step, int):
            if not isinstance(here, list) or step >= len(here):
                return _no_item(override, depth, here)
            here[step] = override.value if last else here[step]
        elif not isinstance(here, dict):
            message = f"{path_text(override.location[:depth])} is not a mapping"
            return Fault(override.origin, path_text(override.location), 0, 0, message, "set the whole of it")
        elif last and override.value is None and not in_free_form(override.location):
            here.pop(step, None)
            return None
        else:
            here[step] = override.value if last else here.get(step, {})
        here = here[step]
    _mark(document, override)
    return None


def _no_item(override: Override, depth: int, here: Any) -> Fault:
    where = path_text(override.location[:depth])
    what = f"{where} has {len(here)} items" if isinstance(here, list) else f"{where} is not a list"
    return Fault(override.origin, path_text(override.location), 0, 0, what, "items are counted from 0")


def _mark(document: Document, override: Override) -> None:
    """Faults below the place now name the override."""
    size = len(override.location)
    for marks in (document.values, document.keys):
        for location in [known for known in marks if known[:size] == override.location]:
            del marks[location]
    for length in range(1, size + 1):
        document.values.setdefault(override.location[:length], Mark(override.origin, 0, 0))
    document.keys.setdefault(override.location, Mark(override.origin, 0, 0))
