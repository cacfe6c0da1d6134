"""Who leads, in virtual time: one at a time, whatever dies, freezes or does not answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_operator.cluster.api import NoAnswerError, UnavailableError
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.objects import CONFIG_MAPS, LEASES, Json, ObjectKey
from modelyard_operator.runtime.election import (
    LEASE_NAME,
    LEASE_SECONDS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    Elector,
    Fenced,
    LeadershipLostError,
)
from support import virtual_time

KEY = ObjectKey(LEASES, "n", LEASE_NAME)


def now() -> float:
    return asyncio.get_running_loop().time()


def lease(store: Store) -> Json:
    spec: Json = store.objects[KEY]["spec"]
    return spec


def elector(store: Store, name: str, hook: Callable[[str, Call], None] = lambda *_: None) -> Elector:
    return Elector(MemoryCluster(store, hook), "n", name, clock=now)


def test_the_first_one_leads_and_the_second_waits() -> None:
    async def case() -> None:
        store = Store()
        one, two = elector(store, "one"), elector(store, "two")
        await one.acquire()
        waiting = asyncio.create_task(two.acquire())
        holding = asyncio.create_task(one.hold())
        await asyncio.sleep(3600)
        assert one.leads()
        assert not two.leads()
        assert not waiting.done()
        assert not holding.done()
        spec = lease(store)
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 15, 0)
        assert spec["renewTime"].endswith("Z")

    virtual_time.run(case())


def test_a_released_lease_is_taken_at_once() -> None:
    async def case() -> None:
        store = Store()
        one, two = elector(store, "one"), elector(store, "two")
        await one.acquire()
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(7)
        began = now()
        await one.release()
        assert not one.leads()
        await waiting
        assert now() - began <= RETRY_SECONDS
        assert lease(store)["leaseTransitions"] == 1

    virtual_time.run(case())


def test_a_dead_leaders_lease_is_taken_after_its_duration_and_not_before() -> None:
    async def case() -> None:
        store = Store()
        one, two = elector(store, "one"), elector(store, "two")
        await one.acquire()
        began = now()
        await two.acquire()
        assert LEASE_SECONDS < now() - began < LEASE_SECONDS + 2 * RETRY_SECONDS
        assert not one.leads()

    virtual_time.run(case())


def test_a_frozen_leader_writes_nothing_when_it_wakes_and_ends() -> None:
    async def case() -> None:
        store = Store()
        one, two = elector(store, "one"), elector(store, "two")
        await one.acquire()
        fenced = Fenced(MemoryCluster(store), one.leads)
        holding = asyncio.create_task(one.hold())
        await asyncio.sleep(5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual_time.VirtualTimeLoop)
        loop.passed(RENEW_SECONDS)  # nothing of the process ran
        metadata = {"name": "a", "namespace": "n"}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        key = ObjectKey(CONFIG_MAPS, "n", "a")
        for write in (fenced.create(config_map), fenced.patch(key, {}), fenced.delete(key)):
            with pytest.raises(LeadershipLostError):
                await write
        version = store.objects[KEY]["metadata"]["resourceVersion"]
        with pytest.raises(LeadershipLostError):
            await holding
        await one.release()
        assert store.objects[KEY]["metadata"]["resourceVersion"] == version
        await two.acquire()
        assert two.leads()

    virtual_time.run(case())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_server_that_is_away_for_a_while_costs_no_leadership_and_for_long_it_does(moment: str) -> None:
    async def case() -> None:
        store, away = Store(), [False]

        def hook(when: str, call: Call) -> None:
            if away[0] and when == moment:
                raise NoAnswerError("away")

        one = elector(store, "one", hook)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        for _ in range(3):
            away[0] = True
            await asyncio.sleep(RENEW_SECONDS / 2)
            away[0] = False
            await asyncio.sleep(60)
            assert one.leads()
        away[0], began = True, now()
        with pytest.raises(LeadershipLostError):
            await holding
        assert now() - began <= RENEW_SECONDS + RETRY_SECONDS
        assert not one.leads()

    virtual_time.run(case())


def test_a_call_that_hangs_does_not_hide_the_loss() -> None:
    class Hanging(MemoryCluster):
        async def patch(self, *_: object, **__: object) -> Json:
            await asyncio.sleep(1000)
            raise UnavailableError("late")

    async def case() -> None:
        store = Store()
        one = Elector(Hanging(store), "n", "one", clock=now)
        await one.acquire()
        began = now()
        with pytest.raises(LeadershipLostError):
            await one.hold()
        assert now() - began <= RENEW_SECONDS + RETRY_SECONDS

    virtual_time.run(case())


def test_a_lease_that_somebody_took_is_lost_at_the_next_renewal() -> None:
    async def case() -> None:
        store = Store()
        one = elector(store, "one")
        await one.acquire()
        store.patch(KEY, {"spec": {"holderIdentity": "a person"}})
        began = now()
        with pytest.raises(LeadershipLostError):
            await one.hold()
        assert now() - began <= RETRY_SECONDS

    virtual_time.run(case())


def test_a_lease_made_by_hand_without_a_spec_is_free() -> None:
    async def case() -> None:
        store = Store()
        metadata = {"name": LEASE_NAME, "namespace": "n"}
        store.create({"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata})
        one = elector(store, "one")
        await one.acquire()
        assert one.leads()

    virtual_time.run(case())


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    deaths=st.lists(st.tuples(st.integers(0, 2), st.floats(0.1, 40)), max_size=12),
    loss=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_never_two_at_a_time(seed: int, deaths: list[tuple[int, float]], loss: float) -> None:
    """Three candidates that lose answers at random and die for a while, believing on; their clocks differ by 5 %."""

    async def case() -> None:
        store, chance = Store(), random.Random(seed)
        electors: list[Elector] = []

        def lossy(_when: str, _call: Call) -> None:
            if chance.random() < loss:
                raise NoAnswerError("lost")

        async def candidate(number: int) -> None:
            rate = chance.uniform(0.95, 1.05)
            while True:
                name = f"{number}-{len(electors)}"
                electors.append(one := Elector(MemoryCluster(store, lossy), "n", name, lambda: now() * rate))
                await one.acquire()
                with suppress(LeadershipLostError):
                    await one.hold()

        tasks = [asyncio.create_task(candidate(number)) for number in range(3)]
        await asyncio.sleep(5)
        for number, seconds in deaths:
            tasks[number].cancel()
            for _ in range(int(seconds / 0.5) + 1):
                await asyncio.sleep(0.5)
                assert sum(one.leads() for one in electors) <= 1
            tasks[number] = asyncio.create_task(candidate(number))
        if not loss:
            await asyncio.sleep(60)
            assert sum(one.leads() for one in electors) == 1
        for task in tasks:
            task.cancel()

    virtual_time.run(case())
