"""JSON merge patches and label selectors, as pure functions: what the twin needs of an API server's arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard_operator.kinds.objects import Json


def merge(target: Any, patch: Any) -> Any:
    """The merged value (RFC 7386): null removes a key, an object merges, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def selects(selector: str, item: Json) -> bool:
    """Whether an object has the labels: `a=b,c!=d,e,!f`. ValueError for set-based terms, which nobody here uses."""
    labels = item["metadata"].get("labels") or {}
    return all(_holds(term.strip(), labels) for term in selector.split(",") if term.strip())


def _holds(term: str, labels: Mapping[str, str]) -> bool:
    if "(" in term or " " in term:
        raise ValueError(f"the label selector {term!r} is not one that is understood here")
    if "!=" in term:
        name, _, value = term.partition("!=")
        return labels.get(name) != value
    if "=" in term:
        name, _, value = term.replace("==", "=").partition("=")
        return labels.get(name) == value
    return term[1:] not in labels if term.startswith("!") else term in labels
