"""The reflector against the twin: whatever the server does, the cache becomes what the server holds."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from modelyard_operator.cluster.api import (
    ClusterError,
    ForbiddenError,
    GoneError,
    NoAnswerError,
    ThrottledError,
    UnavailableError,
)
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.objects import CONFIG_MAPS, PODS, RAY_JOBS, RESOURCES, ObjectKey
from modelyard_operator.runtime import reflector as reflecting
from modelyard_operator.runtime.cache import Cache
from modelyard_operator.runtime.reflector import Reflector
from support import virtual_time


class Faults:
    """A hook that raises what was planned for a verb, in order, and counts the calls that begin."""

    def __init__(self, **planned: list[ClusterError | None]) -> None:
        self.planned, self.calls = planned, Counter[str]()
        self.times: list[float] = []

    def __call__(self, moment: str, call: Call) -> None:
        if moment == "after":
            errors = self.planned.get(f"{call.verb}_after", [])
        else:
            self.calls[call.verb] += 1
            self.times.append(asyncio.get_running_loop().time())
            errors = self.planned.get(call.verb, [])
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error


def item(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "labels": {"app.kubernetes.io/managed-by": "modelyard-operator"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def key(name: str) -> ObjectKey:
    return ObjectKey(CONFIG_MAPS, "n", name)


def equal(cache: Cache, store: Store) -> bool:
    held = {place: cache.objects.items[place] for place in cache.objects.keys(CONFIG_MAPS)}
    return held == {place: found for place, found in store.objects.items() if place.resource == CONFIG_MAPS}


def following(
    case: Callable[[Store, Cache, Reflector], Awaitable[None]], hook: Faults, store: Store | None = None
) -> None:
    """Run a case beside a reflector of ConfigMaps."""

    async def running() -> None:
        kept = Store() if store is None else store
        cache = Cache()
        reflector = Reflector(MemoryCluster(kept, hook), CONFIG_MAPS, cache, jitter=lambda: 0.0)
        task = asyncio.create_task(reflector.run())
        await case(kept, cache, reflector)
        assert not task.done()
        task.cancel()

    virtual_time.run(running())


def test_it_lists_in_pages_and_then_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflecting, "PAGE", 2)
    hook, store = Faults(), Store()
    for number in range(5):
        store.create(item(f"a{number}"))

    async def case(store: Store, cache: Cache, reflector: Reflector) -> None:
        await reflector.synced.wait()
        assert hook.calls["list"] == 3
        assert equal(cache, store)
        store.create(item("b"))
        store.patch(key("a0"), {"data": {"x": "1"}})
        store.delete(key("a1"))
        await asyncio.sleep(1)
        assert equal(cache, store)
        await asyncio.sleep(3600)
        store.delete(key("a2"))
        await asyncio.sleep(1)
        assert equal(cache, store)
        assert hook.calls["list"] == 3
        assert hook.calls["watch"] == 13  # one each five minutes

    following(case, hook, store)


@pytest.mark.parametrize(
    "error", [NoAnswerError("n"), UnavailableError("u"), ThrottledError("t"), ForbiddenError("f"), GoneError("g")]
)
@pytest.mark.parametrize("verb", ["list", "list_after", "watch", "watch_after"])
def test_after_any_fault_it_is_again_what_the_server_holds(verb: str, error: ClusterError) -> None:
    hook, store = Faults(**{verb: [error, None, error, error]}), Store()
    store.create(item("a"))

    async def case(store: Store, cache: Cache, reflector: Reflector) -> None:
        await asyncio.sleep(1)
        for number in range(9):
            store.create(item(f"b{number}"))
            await asyncio.sleep(0.5)
        store.delete(key("a"))
        await asyncio.sleep(1300)
        assert equal(cache, store)
        assert reflector.synced.is_set()
        assert reflector.troubled_seconds() == 0

    following(case, hook, store)


def test_a_dropped_watch_goes_on_where_it_was_without_a_list() -> None:
    hook, store = Faults(watch_after=[None, NoAnswerError("dropped")]), Store()

    async def case(store: Store, cache: Cache, reflector: Reflector) -> None:
        await reflector.synced.wait()
        await asyncio.sleep(0.01)
        for name in "abc":
            store.create(item(name))
        await asyncio.sleep(1)
        assert equal(cache, store)
        assert hook.calls == {"list": 1, "watch": 2}

    following(case, hook, store)


def test_a_history_that_is_gone_is_listed_anew_and_what_went_meanwhile_goes() -> None:
    hook = Faults(watch=[NoAnswerError("down")] * 3)
    store = Store()
    store.create(item("old"))
    told: list[ObjectKey] = []

    async def case(store: Store, cache: Cache, reflector: Reflector) -> None:
        await reflector.synced.wait()
        cache.changed = lambda lineage: told.append(lineage[0])
        store.delete(key("old"))
        store.create(item("new"))
        store.compact()
        await asyncio.sleep(60)
        assert equal(cache, store)
        assert sorted(told) == [key("new"), key("old")]
        assert hook.calls["list"] == 2

    following(case, hook, store)


def test_a_list_anew_tells_nothing_of_what_did_not_change() -> None:
    hook = Faults(watch=[GoneError("gone")])
    store = Store()
    store.create(item("a"))
    told: list[list[ObjectKey]] = []

    async def case(store: Store, cache: Cache, reflector: Reflector) -> None:
        cache.changed = told.append
        await asyncio.sleep(60)
        assert hook.calls["list"] == 2
        assert told == [[key("a")]]

    following(case, hook, store)


def test_it_waits_longer_each_time_and_as_long_as_the_server_asks() -> None:
    hook = Faults(list=[UnavailableError("down")] * 10 + [ThrottledError("slow", 100.0)])

    async def case(store: Store, cache: Cache, reflector: Reflector) -> None:
        await asyncio.sleep(60)
        assert reflector.troubled_seconds() == pytest.approx(60)
        assert not reflector.synced.is_set()
        await asyncio.sleep(600)
        assert reflector.troubled_seconds() == 0
        waits = [later - earlier for earlier, later in zip(hook.times, hook.times[1:12], strict=False)]
        assert waits[:10] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])
        assert waits[10] == pytest.approx(100)

    following(case, hook)


def test_jitter_spreads_the_waits_and_the_watches() -> None:
    hooks = []

    async def case() -> None:
        for seed in range(2):
            hooks.append(hook := Faults(list=[UnavailableError("down")] * 3))
            jitter = random.Random(seed).random
            task = asyncio.create_task(Reflector(MemoryCluster(hook=hook), PODS, Cache(), jitter=jitter).run())
            await asyncio.sleep(1000)
            task.cancel()

    virtual_time.run(case())
    waits = [[later - earlier for earlier, later in zip(hook.times, hook.times[1:], strict=False)] for hook in hooks]
    assert waits[0][:3] != waits[1][:3]
    assert all(300 <= wait <= 600 for line in waits for wait in line[4:])


def test_a_watch_that_ends_at_once_and_tells_nothing_does_not_spin() -> None:
    class Ending(MemoryCluster):
        async def watch(self, *_: Any, **__: Any) -> Any:
            self.hook("before", Call("watch", CONFIG_MAPS))
            return
            yield

    hook = Faults()

    async def case() -> None:
        task = asyncio.create_task(Reflector(Ending(hook=hook), CONFIG_MAPS, Cache()).run())
        await asyncio.sleep(3600)
        task.cancel()

    virtual_time.run(case())
    assert hook.calls["watch"] < 200


def test_a_kind_that_is_not_served_is_seen_when_it_comes_and_when_it_goes() -> None:
    told: list[list[ObjectKey]] = []

    async def case() -> None:
        store = Store(served=frozenset(RESOURCES) - {RAY_JOBS})
        cache = Cache(told.append)
        reflector = Reflector(MemoryCluster(store), RAY_JOBS, cache)
        task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        assert RAY_JOBS not in cache.served
        store.served = frozenset(RESOURCES)
        metadata = {"name": "a", "namespace": "n"}
        store.create({"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": {}})
        await asyncio.sleep(100)
        assert RAY_JOBS in cache.served
        assert len(cache.objects.keys(RAY_JOBS)) == 1
        store.served = frozenset(RESOURCES) - {RAY_JOBS}
        await asyncio.sleep(2000)
        assert RAY_JOBS not in cache.served
        assert cache.objects.keys(RAY_JOBS) == frozenset()
        assert reflector.troubled_seconds() == 0
        task.cancel()

    virtual_time.run(case())
