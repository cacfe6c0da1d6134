"""A run: every plot once with an operator that nobody kills, then life after life, then whatever is under way ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_operator.cluster.rest import open_rest
from modelyard_operator.kinds.objects import Resource
from support.accounts import operators_kubeconfig
from support.apiserver import Namespace, running
from support.kuberay import Script, ScriptedRay, StandIn
from support.kuberay.network import answering
from support.operator_kills.lives import Life, Operator
from support.operator_kills.stories import Story, faults, story, twice
from support.operator_kills.worlds import FOLLOWED, World, plant, touched

_SETTLE_SECONDS = 2.0  # for the last Event


@dataclass(frozen=True)
class Stream:
    """What a run is of: a kind of parent, and what users do with one of each plot.

    A parent is called `<plot>-<number>`. `act` is a user's part in it, `ended` whether nothing more will come of it.
    An operator lives for up to `lives_seconds` after it has read the cluster; what is under way when the last one
    starts has `patience_seconds`.
    """

    parent: Resource
    plots: tuple[str, ...]
    script: Script
    act: Callable[[World, str], Coroutine[Any, Any, None]]
    ended: Callable[[World, str], bool]
    lives_seconds: float
    patience_seconds: float


@dataclass
class _Run:
    stream: Stream
    world: World
    followed: list[Resource]
    config: Path
    address: str
    folder: Path

    def operator(self, name: str) -> Operator:
        return Operator(self.config, self.world.namespace, self.address, self.folder / f"{name}.log")

    def story(self, name: str) -> Story:
        return story(self.world, self.stream.parent, name)

    async def _ended(self, name: str) -> None:
        await self.world.until(lambda: self.stream.ended(self.world, name))

    async def end(self, *names: str) -> list[str]:
        """Wait until nothing more will come of these; returns in words what did not come to its end."""
        waits = [asyncio.create_task(self._ended(name)) for name in names]
        await asyncio.wait(waits, timeout=self.stream.patience_seconds)
        late = [name for name, wait in zip(names, waits, strict=True) if not wait.done()]
        for wait in waits:
            wait.cancel()
        await asyncio.sleep(_SETTLE_SECONDS)
        for resource in self.followed:
            await self.world.read(resource)
        return [f"{name}: did not come to its end in {self.stream.patience_seconds:.0f} s" for name in late]


async def _played_out(
    stream: Stream, namespace: Namespace, kills: int, chance: random.Random, folder: Path
) -> list[str]:
    """The whole of it; returns what came out otherwise."""
    config = operators_kubeconfig(namespace, folder / "kubeconfig")
    async with open_rest(namespace.server.kubeconfig) as cluster:
        world, stop, ray = World(cluster, namespace.name), asyncio.Event(), ScriptedRay(stream.script)
        await plant(world, stream.parent.kind, f"{stream.plots[0]}-1")
        kuberay = StandIn(cluster, ray, namespace=namespace.name)
        served = await cluster.served()
        followed = [resource for resource in FOLLOWED if resource in served]
        following = [asyncio.create_task(world.follow(resource)) for resource in followed]
        moving = asyncio.create_task(kuberay.run(stop))
        try:
            async with answering(kuberay.ask) as address:
                run = _Run(stream, world, followed, config, address, folder)
                wanted = await _undisturbed(run)
                names, lives, found = await _disturbed(run, kills, chance)
            found += [words for one in names for words in faults(one, wanted[one.rpartition("-")[0]], run.story(one))]
            found += [*twice(world.uids), *await touched(world)]
            found += [f"driver {job} started {times} times" for job, times in ray.submissions.items() if times != 1]
        finally:
            stop.set()
            for task in following:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(moving, *following, return_exceptions=True)
        _tell(names, lives, world, ray)
        return found


async def _undisturbed(run: _Run) -> dict[str, Story]:
    operator = run.operator("undisturbed")
    try:
        names = [f"{plot}-0" for plot in run.stream.plots]
        await asyncio.gather(*(run.stream.act(run.world, name) for name in names))
        if late := await run.end(*names):
            raise RuntimeError(f"even undisturbed: {late}")
        return {name.rpartition("-")[0]: run.story(name) for name in names}
    finally:
        operator.kill()


async def _disturbed(run: _Run, kills: int, chance: random.Random) -> tuple[list[str], list[Life], list[str]]:
    """Life after life, each with a new parent; the last one lives until everything is over."""
    stream = run.stream
    names, acting, lives = list[str](), list[asyncio.Task[None]](), list[Life]()
    for number in range(1, kills + 1):
        names.append(f"{stream.plots[number % len(stream.plots)]}-{number}")
        acting.append(asyncio.create_task(stream.act(run.world, names[-1])))
        operator = run.operator(f"life-{number}")
        await operator.reads()
        seconds = chance.uniform(0, stream.lives_seconds)
        await asyncio.sleep(seconds)
        lives.append(Life(seconds, operator.kill()))
        if number % 25 == 0:
            print(f"{number} kills so far", file=sys.stderr)
    last = run.operator("last")
    try:
        late = await run.end(*names)
        for action in acting:
            action.cancel()
    finally:
        last.kill()
    return names, lives, late


def _tell(names: list[str], lives: list[Life], world: World, ray: ScriptedRay) -> None:
    kinds = Counter(key.resource.kind for key in world.uids)
    middle, longest = statistics.median(life.seconds for life in lives), max(life.seconds for life in lives)
    print(f"{len(lives)} kills, {middle:.2f} s (median; at most {longest:.2f}) after the operator had read the cluster")
    print(f"lives that had begun to write: {sum(life.wrote for life in lives)}")
    print(f"{len(names)} parents, {ray.submissions.total()} drivers started")
    print("objects that ever were: " + ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())))


def main(stream: Stream, description: str | None, kills: int) -> int:
    """The command of a benchmark: 1 when anything came out otherwise than undisturbed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    print(f"{arguments.kills} kills, seed {arguments.seed}", flush=True)
    with running() as server, server.new_namespace() as namespace, tempfile.TemporaryDirectory() as folder:
        chance = random.Random(arguments.seed)
        found = asyncio.run(_played_out(stream, namespace, arguments.kills, chance, Path(folder)))
    print(f"{time.monotonic() - began:.0f} s in all, load {load:.1f} before and {os.getloadavg()[0]:.1f} after")
    print("\n".join(found) or "everything is as without kills")
    return int(bool(found))
