"""What came of a parent, without names, ids and times: two stories of one plot must be equal."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard_operator.kinds.objects import EVENTS, OURS, RAY_CLUSTERS, Json, ObjectKey, Resource
from support.crashes.verdicts import IN_PASSING
from support.operator_kills.worlds import World

_KINDS = {resource.kind for resource in OURS}
_ID = re.compile(r"-[0-9a-f]{8}(?![0-9a-z])")  # of a uid, or of what an evaluation asks
# Which end KubeRay sees first, the driver's or the submitter's, is not the operator's doing.
_SEEN_FIRST = re.compile(r"\(Ray says \w+\): (AppFailed|SubmissionFailed): .*? \(driver")


@dataclass(frozen=True)
class Story:
    """The status at the end; Events (type, reason, message) but those of states in passing; (kind, name) of children.

    Both are counted: a child of every uid that it ever had.
    """

    status: str
    events: Counter[tuple[str, ...]]
    created: Counter[tuple[str, ...]]


def story(world: World, parent: Resource, name: str) -> Story:
    """What came of a parent, its children's children included."""
    status = world.get(parent, name).get("status")
    told = "gone" if status is None else _bare(name, json.dumps(_untimed(status), sort_keys=True))
    return Story(told, Counter(_events(world, name)), Counter(_created(world, name)))


def _bare(name: str, text: str) -> str:
    text = _SEEN_FIRST.sub("(ended) (driver", text)
    return _ID.sub("-#", re.sub(rf"\b{re.escape(name)}\b", "NAME", text))


def _untimed(status: Json) -> dict[str, Any]:
    """Without what differs by the clock, or by the names of this very object."""
    kept = {name: value for name, value in status.items() if not name.endswith("Time") and name != "runId"}
    conditions = [[one["type"], one["status"], one["reason"], one["message"]] for one in status.get("conditions", ())]
    return {**kept, "conditions": conditions}


def _events(world: World, name: str) -> Iterator[tuple[str, ...]]:
    """Those of the parent and of a gate of its."""
    for key, event in world.objects.items():
        if key.resource == EVENTS and event["reason"] not in IN_PASSING:
            about = event["involvedObject"]
            if about["kind"] in _KINDS and (about["name"] == name or about["name"].startswith(f"{name}-")):
                yield event["type"], event["reason"], _bare(name, event["message"])


def _created(world: World, name: str) -> Iterator[tuple[str, ...]]:
    for key, uids in world.uids.items():
        if key.resource != EVENTS and key.name.startswith(f"{name}-"):
            yield from [(key.resource.kind, _place(name, key))] * len(uids)


def _place(name: str, key: ObjectKey) -> str:
    """A child's name without ids; the random ends of Ray clusters left out."""
    rest = key.name.removeprefix(name)
    return _ID.sub("-#", rest[: rest.rindex("-")] if key.resource == RAY_CLUSTERS else rest)


def faults(name: str, wanted: Story, found: Story) -> Iterator[str]:
    """In words, what came out otherwise."""
    if wanted.status != found.status:
        yield f"{name}: {found.status} instead of {wanted.status}"
    for what, one, other in (("Event", wanted.events, found.events), ("child", wanted.created, found.created)):
        yield from (f"{name}: {what} {lost} is not there" for lost in one - other)
        yield from (f"{name}: {what} {more} should not be there" for more in other - one)


def twice(uids: Mapping[ObjectKey, set[str]]) -> Iterator[str]:
    """In words, what was created more than once under one name."""
    yield from (f"{key}: created {len(found)} times" for key, found in uids.items() if len(found) > 1)
