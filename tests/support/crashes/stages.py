"""Plays a scenario: the operator's real runtime on the twin, KubeRay's stand-in, users; one thread, virtual time.

The operator's parts (reflectors, cache, queue, controller, plan, executing) are those that run in a cluster; only what
they take from outside is replaced: the door to the server, the clock, the endpoints that are probed. When it dies,
a new one starts with an empty cache.
"""

from __future__ import annotations

import asyncio
import pickle
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from modelyard_operator.cluster.memory import MemoryCluster
from modelyard_operator.cluster.store import Store, numbered_uids
from modelyard_operator.kinds.objects import Json, ObjectKey, key_of
from modelyard_operator.plan import probes
from modelyard_operator.runtime.controller import Planner
from modelyard_operator.runtime.metrics import Metrics
from modelyard_operator.runtime.operator import Habits, Operator
from modelyard_operator.runtime.probing import Tally
from support.crashes.faults import Died, Door, Faults
from support.crashes.foreign import foreign
from support.crashes.plans import interested, planned
from support.job_worlds import NAMESPACE
from support.kuberay import Script, ScriptedRay, StandIn
from support.virtual_time import VirtualTimeLoop

BEGIN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
AWAY_SECONDS = 3.0  # virtual; of an operator that does not start again at once
_AT_REST_SECONDS = 0.01  # virtual: whatever is due now is done then
_MEMORY = ("_deletions", "_configs", "_alive")
_METRICS = Metrics()  # of all runs: making one takes longer than a run's moment

Deed = Callable[["Stage"], None]


@dataclass(frozen=True)
class Scenario:
    """What happens: users' deeds, and seconds that pass between them. `around` stands from the beginning.

    The first `shared` moves of the course are those of another scenario.
    """

    course: tuple[Deed | float, ...]
    around: tuple[Json, ...] = ()
    script: Script = field(default_factory=Script)
    shared: int = 0


@dataclass(frozen=True)
class Saved:
    """The world between two moves, without the operator: a run may begin there, with an operator that starts anew."""

    moves: int
    seconds: float
    objects: Mapping[ObjectKey, Json]
    version: int
    num_uids: int
    creations: Mapping[ObjectKey, int]
    memory: bytes  # of KubeRay's stand-in


class Stage:
    """One run of a scenario, played move by move: the first is the operator's start, then those of the course.

    `creations` counts what was ever created, by place; `planted` are the foreign objects as they were.
    """

    def __init__(self, scenario: Scenario, faults: Faults | None = None, door: type[Door] = Door) -> None:
        self.faults = Faults() if faults is None else faults
        self.operator: Operator | None = None
        self.creations: Counter[ObjectKey] = Counter()
        self.num_moves = len(scenario.course) + 1
        self.moves = 0
        self._scenario, self._door = scenario, door
        self._loop = VirtualTimeLoop()
        self._runner = asyncio.Runner(loop_factory=lambda: self._loop)
        self._uids, self._num_uids = numbered_uids(), 0
        self.store = Store(now=self.now, new_uid=self._uid)
        self.store.listeners.append(self._note)
        twin, chance = MemoryCluster(self.store), random.Random(7)
        self.ray = ScriptedRay(scenario.script)
        self.kuberay = StandIn(twin, self.ray, clock=self.now, chance=chance, namespace=NAMESPACE)
        self.planted = {key_of(item): self.store.create(item) for item in foreign()}
        for item in scenario.around:
            self.store.create(item)
        self._operating: asyncio.Task[None] | None = None

    def save(self) -> Saved:
        """The world as it is between two moves."""
        parts = {name: getattr(self.kuberay, name) for name in _MEMORY}
        memory = pickle.dumps((self.ray, self.kuberay.chance.getstate(), parts))
        numbers = (self.moves, self._loop.time())
        return Saved(
            *numbers, dict(self.store.objects), self.store.version, self._num_uids, dict(self.creations), memory
        )

    def restore(self, saved: Saved) -> None:
        """Go to where another run was; the operator starts, and rests."""
        self._loop.passed(saved.seconds - _AT_REST_SECONDS - self._loop.time())
        self.store.objects, self.store.version = dict(saved.objects), saved.version
        self.store.compact()
        while self._num_uids < saved.num_uids:
            self._uid()
        self.creations = Counter(saved.creations)
        self.ray, chance, parts = pickle.loads(saved.memory)
        self.kuberay.ray = self.ray
        self.kuberay.chance.setstate(chance)
        for name, part in parts.items():
            setattr(self.kuberay, name, part)
        self.moves = 0
        self.move()
        self.moves = saved.moves

    def _uid(self) -> str:
        self._num_uids += 1
        return self._uids()

    @property
    def seconds(self) -> float:
        """Virtual time since the beginning."""
        return self._loop.time()

    def now(self) -> datetime:
        """The moment, for everybody in it."""
        return BEGIN + timedelta(seconds=self._loop.time())

    def move(self) -> None:
        """The next move, until everybody rests."""
        self._runner.run(self._move())
        self.moves += 1

    def upgrade(self) -> None:
        """The operator ends, in the middle of whatever it does, and another one starts."""
        assert self._operating is not None
        self._operating.cancel()
        self._operating = None

    def play(self) -> Stage:
        """All moves that are left."""
        while self.moves < self.num_moves:
            self.move()
        return self

    def close(self) -> None:
        """End the run."""
        self._runner.run(self._end())
        self._runner.close()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self) -> None:
        change = self.store.history[-1]
        if change.before is None:
            self.creations[change.key] += 1

    async def _move(self) -> None:
        move = self._scenario.course[self.moves - 1] if self.moves else None
        if callable(move):
            move(self)
        elif move is not None:
            await asyncio.sleep(move)
            await self.kuberay.settle()
        if self._operating is None:
            self._operating = asyncio.create_task(self._operate())
        await asyncio.sleep(_AT_REST_SECONDS)
        if self._operating.done():
            self._operating.result()

    async def _end(self) -> None:
        if self._operating is not None:
            self._operating.cancel()
            with suppress(asyncio.CancelledError):
                await self._operating

    async def _operate(self) -> None:
        """One life of the operator after the other."""
        while True:
            door = self._door(self.store, self.faults)
            self.operator = self._made(door)
            try:
                await self.operator.run(asyncio.Event())
            except* Died:
                self.operator = None
            if self.faults.away:
                await asyncio.sleep(AWAY_SECONDS)

    def _made(self, door: Door) -> Operator:
        planner = Planner(planned, interested, probes)
        tally = Tally(self.kuberay.ask, clock=self._loop.time)
        made = Operator(door, planner, tally.ask, Habits(), _METRICS)
        made.controller.now = self.now
        for reflector in made.reflectors:
            reflector.jitter = lambda: 0.5
        return made
