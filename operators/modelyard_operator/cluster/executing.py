"""Carries out a plan against a cluster: in order, stopping at the first fault. What stopped is planned anew later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import assert_never

from modelyard_operator.cluster.api import AlreadyExistsError, NotFoundError, Writer
from modelyard_operator.kinds.actions import Action, Create, Delete, Emit, Patch, Requeue
from modelyard_operator.kinds.objects import Json, uid_of

COMPONENT = "modelyard-operator"
_MESSAGE_BYTES = 1024  # what the API allows in an Event's note


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


async def execute(
    cluster: Writer, parent: Json, actions: Sequence[Action], now: Callable[[], datetime] = utc_now
) -> float | None:
    """Do the actions in order; returns after how many seconds the clock wants the parent looked at again, if it does.

    Raises the first ClusterError. Creating what already stands is one: the observation was stale, the next will see it.
    """
    soonest: float | None = None
    for action in actions:
        match action:
            case Requeue(after_seconds):
                soonest = after_seconds if soonest is None else min(soonest, after_seconds)
            case _:
                await _do(cluster, parent, action, now)
    return soonest


async def _do(cluster: Writer, parent: Json, action: Action, now: Callable[[], datetime]) -> None:
    match action:
        case Create(item):
            await cluster.create(item)
        case Patch(key, body, uid, resource_version, subresource):
            await cluster.patch(key, body, uid=uid, resource_version=resource_version, subresource=subresource)
        case Delete():
            await _delete(cluster, action)
        case Emit():
            await _emit(cluster, event(parent, action, now()))
        case Requeue():
            pass
        case _:
            assert_never(action)


async def _delete(cluster: Writer, action: Delete) -> None:
    with suppress(NotFoundError):  # gone is what was wished
        await cluster.delete(action.key, uid=action.uid)


async def _emit(cluster: Writer, item: Json) -> None:
    with suppress(AlreadyExistsError):  # told before a crash, or in an earlier attempt: once is enough
        await cluster.create(item)


def _last_turn(parent: Json) -> str:
    """The newest `lastTransitionTime` of the conditions; empty when there are none yet."""
    conditions = (parent.get("status") or {}).get("conditions") or ()
    return max((str(one.get("lastTransitionTime", "")) for one in conditions), default="")


def event(parent: Json, emit: Emit, now: datetime) -> Json:
    """The Event that tells it. Its name is a function of what it tells, and of when a condition last turned before.

    So the same transition is told once, however often it is carried out, and the same again later is told again.
    """
    metadata = parent["metadata"]
    told = "\0".join((uid_of(parent), emit.kind, emit.reason, emit.message, _last_turn(parent)))
    name = f"{metadata['name']}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": parent["apiVersion"],
            "kind": parent["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": uid_of(parent),
        },
        "type": emit.kind,
        "reason": emit.reason,
        "message": emit.message.encode()[:_MESSAGE_BYTES].decode(errors="ignore"),
        "source": {"component": COMPONENT},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
