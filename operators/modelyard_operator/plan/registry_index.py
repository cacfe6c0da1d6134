"""The registry's index of a model (ConfigMap `modelyard-model-<name>`) read, and a reference resolved through it.

The index is written by others and may be torn, huge or newer than we are: what cannot be read is said in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard_operator.kinds.names import INDEX_KEY, index_name
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import listed, text, whole

SCHEMA = 1
_REFERENCE = re.compile(
    r"registry://([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)(?:@([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?))?"
)
_LARGEST = 2**63 - 1  # what a status may hold
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelVersion:
    """A version that exists: an immutable number of a model, and the digest over its files."""

    name: str
    version: int
    digest: str

    @property
    def label(self) -> str:
        """`name@version`, as the gateway's header names it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Unresolved:
    """Why a reference names no version now, for a person."""

    message: str


def model_of(reference: object) -> str | None:
    """The model that a reference names; None for a folder, or what is no reference."""
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    return match[1] if match else None


def resolve(reference: str, index: Json | None) -> ModelVersion | Unresolved:
    """The version that `registry://name[@alias-or-version]` names in the index; without a pick the highest."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return Unresolved(
            f"{reference} is a folder: on a cluster a version of the registry is served (registry://name@alias)"
        )
    name, pick = match[1], match[2]
    if index is None:
        return Unresolved(f"the model {name} has no version yet: no ConfigMap {index_name(name)} in this namespace")
    document = _document(index)
    if isinstance(document, str):
        return Unresolved(f"the ConfigMap {index_name(name)} {document}")
    return _pick(name, pick, document)


def made_by(run_id: str, name: str, index: Json | None) -> ModelVersion | None:
    """The newest version of a model that a run has registered, as far as the index can be read."""
    document = _document(index) if index is not None else ""
    if isinstance(document, str) or not run_id:
        return None
    versions = _versions(name, [entry for entry in listed(document, "versions") if text(entry, "runId") == run_id])
    return versions[max(versions)] if versions else None


def _pick(name: str, pick: str | None, document: Mapping[str, Any]) -> ModelVersion | Unresolved:
    versions = _versions(name, listed(document, "versions"))
    if not versions:
        return Unresolved(f"the model {name} has no version yet")
    number = max(versions) if pick is None else _number(pick, document)
    if number is None:
        return Unresolved(f"the model {name} has no alias {pick}; {_known(document)}")
    if number not in versions:
        return Unresolved(f"the model {name} has no version {number}; it has {_shown(versions)}")
    return versions[number]


def _document(index: Json) -> Mapping[str, Any] | str:
    """The index's document, or what is wrong with it."""
    data = index.get("data")
    written = data.get(INDEX_KEY) if isinstance(data, Mapping) else None
    if not written:
        return "is empty: the model has no version yet"
    try:
        document = json.loads(written)
    except (ValueError, TypeError, RecursionError):
        return f"is damaged: {INDEX_KEY} is no JSON"
    if not isinstance(document, Mapping):
        return f"is damaged: {INDEX_KEY} is no mapping"
    schema = document.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        return f"is of schema {schema}; this operator knows up to {SCHEMA}: upgrade it"
    return document


def _versions(name: str, entries: Iterable[Mapping[str, Any]]) -> dict[int, ModelVersion]:
    """By number; entries that are none are passed over."""
    found: dict[int, ModelVersion] = {}
    for entry in entries:
        number, digest = whole(entry, "version"), text(entry, "digest")
        if 0 < number <= _LARGEST and _DIGEST.fullmatch(digest):
            found[number] = ModelVersion(name, number, digest)
    return found


def _number(pick: str, document: Mapping[str, Any]) -> int | None:
    """What a pick names: a number itself, or where an alias points (0: it was removed)."""
    if pick.isdigit():
        return int(pick)
    aliases = document.get("aliases")
    return whole(aliases, pick, "version") or None


def _known(document: Mapping[str, Any]) -> str:
    aliases = document.get("aliases")
    names = sorted(name for name in aliases if _number(name, document)) if isinstance(aliases, Mapping) else []
    return f"its aliases: {', '.join(map(str, names[:10]))}" if names else "it has none yet"


def _shown(versions: Mapping[int, ModelVersion]) -> str:
    return ", ".join(map(str, sorted(versions)[-5:]))
