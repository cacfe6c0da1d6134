"""What may befall an operator at a point of its run: before or after a call, or when a watch tells it something.

Points are numbered in the order in which the operator comes by them, over all its lives, so a fault at a point of the
undisturbed run befalls the same call in the run that is disturbed there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from modelyard_operator.cluster.api import (
    ConflictError,
    NoAnswerError,
    ThrottledError,
    UnavailableError,
    WatchEvent,
)
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.objects import Resource

RETRY_AFTER_SECONDS = 2.5
_LAG_STEP_SECONDS, _LONGEST_LAG_SECONDS = 0.25, 2.0


class Died(BaseException):
    """The operator's process is gone: nothing of it runs on. No Exception, so that nobody catches it."""


class Fault(Enum):
    """One thing that goes wrong, once."""

    dies_before = "the operator dies before the call"
    dies_after = "the operator dies after the call"
    stays_away = "the operator dies after the call, and the world goes on without it for a while"
    conflict = "409"
    throttled = "429 with Retry-After"
    failed = "500"
    timed_out = "time-out after the server acted"
    dropped = "every watch drops at its next event, which is lost"
    gone = "every watch drops, and the history with it: 410"


AT_CALLS = tuple(Fault)
AT_EVENTS = (Fault.dies_before, Fault.dropped)
_AFTER = (Fault.dies_after, Fault.stays_away, Fault.timed_out)
_REFUSALS: dict[Fault, Callable[[str], Exception]] = {
    Fault.conflict: ConflictError,
    Fault.throttled: lambda words: ThrottledError(words, RETRY_AFTER_SECONDS),
    Fault.failed: UnavailableError,
}


@dataclass(frozen=True)
class Point:
    """A call, or an event that a watch tells."""

    what: Literal["call", "event"]
    call: Call

    def faults(self) -> tuple[Fault, ...]:
        """What may befall it. The opening of a watch has no answer but its events, which are points of their own."""
        if self.what == "event":
            return AT_EVENTS
        if self.call.verb == "watch":
            return tuple(fault for fault in AT_CALLS if fault not in _AFTER)
        return AT_CALLS

    def __str__(self) -> str:
        return str(self.call) if self.what == "call" else f"event of {self.call}"


@dataclass
class Faults:
    """The points that a run comes by, and the fault that is to befall it next; None: nothing does."""

    fault: Fault | None = None
    at: int = -1
    points: list[Point] = field(default_factory=list)
    drops: int = 0
    struck: bool = False

    def plant(self, fault: Fault, at: int) -> None:
        """Let a fault befall a point to come."""
        self.fault, self.at, self.struck = fault, at, False

    def strikes(self, point: Point) -> Fault | None:
        """Note a point; returns what befalls it."""
        self.points.append(point)
        if self.fault is None or len(self.points) - 1 != self.at:
            return None
        self.struck = True
        return self.fault

    @property
    def away(self) -> bool:
        """Whether the operator that died does not come back at once."""
        return self.fault is Fault.stays_away


class Door(MemoryCluster):
    """The way of one life of the operator to the store. Once dead, nothing gets through any more."""

    def __init__(self, store: Store, faults: Faults) -> None:
        super().__init__(store, self._befall)
        self.faults = faults
        self.dead = False
        self._after: Fault | None = None

    def _befall(self, moment: Literal["before", "after"], call: Call) -> None:
        if self.dead:
            raise Died
        if moment == "before":
            self._before(call)
        elif call.verb != "watch":
            after, self._after = self._after, None
            if after in (Fault.dies_after, Fault.stays_away):
                self._die()
            if after is Fault.timed_out:
                raise NoAnswerError(f"{call}: timed out, though the server acted")

    def _before(self, call: Call) -> None:
        fault = self.faults.strikes(Point("call", call))
        if fault is Fault.dies_before:
            self._die()
        if fault in (Fault.dropped, Fault.gone):
            self._drop(fault)
        if fault in _REFUSALS:
            raise _REFUSALS[fault](f"{call}: by way of trial")
        self._after = fault

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncIterator[WatchEvent]:
        """See `Cluster`."""
        drops = self.faults.drops
        events = super().watch(
            resource,
            namespace=namespace,
            labels=labels,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
        )
        async for event in events:
            fault = self.faults.strikes(Point("event", Call("watch", resource, namespace)))
            if fault is Fault.dies_before:
                self._die()
            if fault is Fault.dropped or drops != self.faults.drops:
                raise NoAnswerError(f"watch {resource}: the connection broke")
            yield event

    def _drop(self, fault: Fault) -> None:
        self.faults.drops += 1
        if fault is Fault.gone:
            self.store.compact()

    def _die(self) -> None:
        self.dead = True
        raise Died


class LaggingDoor(Door):
    """A door behind which every kind is seen late: by so many writes (of anybody), but by two seconds at most."""

    lags: Mapping[Resource, int] = {}

    def __init__(self, store: Store, faults: Faults) -> None:
        super().__init__(store, faults)
        self._written: dict[int, float] = {}  # when, by version
        store.listeners.append(self._note)

    async def watch(self, resource: Resource, **words: Any) -> AsyncIterator[WatchEvent]:
        """See `Cluster`."""
        clock = asyncio.get_running_loop().time
        async for event in super().watch(resource, **words):
            version = int(event.item["metadata"]["resourceVersion"])
            shown = self._written.get(version, clock()) + _LONGEST_LAG_SECONDS
            while self.store.version < version + self.lags.get(resource, 0) and clock() < shown:
                await asyncio.sleep(_LAG_STEP_SECONDS)
            yield event

    def _note(self) -> None:
        self._written[self.store.version] = asyncio.get_running_loop().time()


def lagging(lags: Mapping[Resource, int]) -> type[Door]:
    """Doors with these lags."""
    return type("LaggingDoor", (LaggingDoor,), {"lags": lags})
