"""The difference between what stands and what is wished, as a merge patch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from modelyard_operator.kinds.actions import Patch
from modelyard_operator.kinds.objects import POD_DISRUPTION_BUDGETS, Json, key_of, uid_of
from modelyard_operator.plan.reading import text


def patch_of(item: Json, body: Mapping[str, Any], subresource: Literal["", "status"] = "") -> Patch:
    """The patch of an object as it was seen, and of no later one."""
    return Patch(key_of(item), body, uid_of(item), text(item, "metadata", "resourceVersion"), subresource)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that turns `before` into `after`: null removes, lists are replaced whole; empty when equal."""
    patch: dict[str, Any] = dict.fromkeys(sorted(before.keys() - after.keys()))
    for name, wished in after.items():
        standing = before.get(name)
        if isinstance(standing, Mapping) and isinstance(wished, Mapping):
            if inner := difference(standing, wished):
                patch[name] = inner
        elif name not in before or standing != wished:
            patch[name] = wished
    return patch


def lacking(standing: Mapping[str, Any], wished: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that puts what is wished into place and leaves all else as it is; empty when nothing lacks."""
    patch: dict[str, Any] = {}
    for name, value in wished.items():
        there = standing.get(name)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            if inner := lacking(there, value):
                patch[name] = inner
        elif there != value:
            patch[name] = value
    return patch


def content(child: Json) -> dict[str, Any]:
    """What of a child is put right when somebody changed it; what an older server drops would never be right."""
    kept: dict[str, Any] = {name: child[name] for name in ("rules", "spec", "subjects") if name in child}
    if child["kind"] == POD_DISRUPTION_BUDGETS.kind:
        kept["spec"] = {name: value for name, value in child["spec"].items() if name != "unhealthyPodEvictionPolicy"}
    return kept
