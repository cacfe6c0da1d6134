"""What the API server refuses of a plan (a quota, a webhook, a missing permission) is told in `Progressing`.

It is tried again with growing pauses; meanwhile no status may say that something is being started.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.actions import Action, Emit, Patch, Requeue
from modelyard_operator.kinds.conditions import PROGRESSING, with_condition
from modelyard_operator.kinds.objects import Json, key_of
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan.patching import patch_of
from modelyard_operator.plan.reading import clipped, listed, mapping, rfc3339, text


def complaint(parent: Json, refusal: str, now: datetime) -> list[Action]:
    """What tells a parent's owner of a refusal; empty when it is told already, or nothing is said to be under way."""
    before = _standing(parent)
    after = _refused(before, parent, refusal, now)
    if after == before:
        return []
    return [
        Emit("Warning", Reason.REFUSED.value, refusal),
        patch_of(parent, {"status": {"conditions": after}}, "status"),
    ]


def while_refused(observation: Observation, actions: Sequence[Action]) -> list[Action]:
    """The plan that tries again what was refused, without telling in between that it goes on."""
    if not any(_is_refusable(action, observation.parent) for action in actions):
        return [*actions]
    untold = _untold(actions, observation.parent)
    told = (action for action in actions if not (isinstance(action, Emit) and action.reason == untold))
    return [_quiet(action, observation) for action in told]


def _untold(actions: Sequence[Action], parent: Json) -> str:
    """The reason of a `Progressing` that is not told: an Event of it would be sent at every try."""
    planned = [action.body for action in actions if isinstance(action, Patch) and _tells(action, parent)]
    conditions = (one for body in planned for one in listed(body, "status", "conditions"))
    going = next((one for one in conditions if one["type"] == PROGRESSING), None)
    return text(going, "reason") if going is not None and not _stays(going) else ""


def _stays(going: Json) -> bool:
    """Whether it is False for a reason of its own."""
    return bool(going["status"] != "True" and going["reason"] != Reason.REFUSED)


def _is_refusable(action: Action, parent: Json) -> bool:
    return not isinstance(action, Emit | Requeue) and not _tells(action, parent)


def _tells(action: Action, parent: Json) -> bool:
    return isinstance(action, Patch) and action.key == key_of(parent) and action.subresource == "status"


def _quiet(action: Action, observation: Observation) -> Action:
    parent = observation.parent
    if not (isinstance(action, Patch) and _tells(action, parent)):
        return action
    change = dict(mapping(action.body, "status"))
    before = _standing(parent)
    after = _refused(change.pop("conditions", before), parent, observation.refusal, observation.now)
    if after != before:
        change["conditions"] = after
    body = {"status": change} if change else {}
    return Patch(action.key, body, action.uid, action.resource_version, "status")


def _refused(conditions: Sequence[Json], parent: Json, refusal: str, now: datetime) -> list[Json]:
    """The conditions with a `Progressing` that cannot go on; one that is False for a reason of its own stays."""
    going = next((one for one in conditions if one["type"] == PROGRESSING), None)
    if going is not None and _stays(going):
        return [*conditions]
    told = next((one for one in _standing(parent) if one["type"] == PROGRESSING), going)
    since = [told if one is going and told is not None else one for one in conditions]  # it tells since when
    generation = parent["metadata"].get("generation", 0)
    words = clipped(refusal, 8192)
    return [
        *with_condition(
            since, PROGRESSING, "False", Reason.REFUSED.value, words, now=rfc3339(now), generation=generation
        )
    ]


def _standing(parent: Json) -> list[Json]:
    """The conditions that stand; what somebody made no condition is passed over."""
    fields = ("type", "status", "reason", "lastTransitionTime")
    return [one for one in listed(parent, "status", "conditions") if all(text(one, name) for name in fields)]
