"""The whole operator against the twin, in virtual time, with a plan of a few lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard_operator.cluster.api import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NoAnswerError,
    ThrottledError,
    UnavailableError,
)
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.actions import Action, Create, Requeue
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    RAY_CLUSTERS,
    RAY_JOBS,
    RESOURCES,
    TRAINING_JOBS,
    Json,
    ObjectKey,
    key_of,
    owner_reference,
)
from modelyard_operator.kinds.observations import Observation, Probe
from modelyard_operator.runtime.controller import Planner
from modelyard_operator.runtime.election import LEASE_NAME, LeadershipLostError
from modelyard_operator.runtime.metrics import Metrics
from modelyard_operator.runtime.operator import Habits, Operator
from support import virtual_time
from support.small_operator import key_for, stamping

START = datetime(2026, 11, 22, tzinfo=UTC)
LEASE = ObjectKey(LEASES, "system", LEASE_NAME)


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def job(name: str) -> dict[str, Any]:
    return {
        "apiVersion": TRAINING_JOBS.api_version,
        "kind": TRAINING_JOBS.kind,
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"steps": 1},
    }


def child(parent: Json, kind: str, name: str, api_version: str = "ray.io/v1") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "ownerReferences": [owner_reference(parent)]}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


class Calls:
    """A hook that notes writes (not those of the lease) and raises what is planned for a time."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.all: list[Call] = []
        self.fault: Callable[[str, Call], Exception | None] = lambda _moment, _call: None

    def __call__(self, moment: str, call: Call) -> None:
        error = self.fault(moment, call)
        if error is not None:
            raise error
        if moment == "after":
            self.all.append(call)
            if call.writes and call.resource != LEASES:
                self.writes.append(str(call))


async def ask(url: str) -> Probe:
    return Probe(url, healthy=True)


def operator_of(
    store: Store, calls: Calls, planner: Planner | None = None, name: str = "one", **habits: Any
) -> Operator:
    wished = Habits(identity=name, lease_namespace="system", **habits)
    return Operator(MemoryCluster(store, calls), planner or stamping(0, name), ask, wished, Metrics(), now)


@asynccontextmanager
async def running(operator: Operator) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


def test_a_parent_is_brought_to_rest_and_then_nothing_is_written() -> None:
    async def case() -> None:
        store, calls = Store(now=now), Calls()
        parent = store.create(job("a"))
        async with running(operator_of(store, calls)):
            await asyncio.sleep(5)
            assert calls.writes[1:] == ["create configmaps/n/a-stamp", "patch trainingjobs.modelyard.dev/n/a/status"]
            assert calls.writes[0].startswith("create events/n/a.")
            version = store.version
            await asyncio.sleep(24 * 3600)
            assert store.version == version
            store.delete(key_for(parent))  # by hand: it comes again
            await asyncio.sleep(5)
            assert key_for(parent) in store.objects
            store.delete(key_of(parent))
            await asyncio.sleep(5)
            assert [key for key in store.objects if key.resource != LEASES and key.resource.kind != "Event"] == []

    virtual_time.run(case())


def test_what_changes_far_below_or_is_of_interest_makes_the_parent_looked_at() -> None:
    looks: list[tuple[datetime, str]] = []

    def plan(observation: Observation) -> list[Action]:
        names = ",".join(sorted(key.name for key in observation.objects))
        looks.append((observation.now, names))
        return []

    async def case() -> None:
        store = Store(now=now)
        wished = ObjectKey(CONFIG_MAPS, "n", "wished")
        parent = store.create(job("a"))
        planner = Planner(plan, lambda _: (wished,), lambda _: ())
        async with running(operator_of(store, Calls(), planner)):

            async def after(change: Callable[[], object]) -> list[str]:
                looks.clear()
                change()
                await asyncio.sleep(10)
                return [names for _, names in looks]

            assert await after(lambda: None) == [""]
            ray_job = child(parent, RAY_JOBS.kind, "r")
            assert await after(lambda: store.create(ray_job)) == ["r"]
            standing = store.get(key_of(ray_job))
            assert await after(lambda: store.create(child(standing, RAY_CLUSTERS.kind, "c"))) == ["c,r"]
            pod = child(store.get(ObjectKey(RAY_CLUSTERS, "n", "c")), "Pod", "p", "v1")
            pod["metadata"]["labels"] = {"ray.io/cluster": "c"}
            assert await after(lambda: store.create(pod)) == ["c,p,r"]
            body = {"status": {"phase": "Failed"}}
            assert await after(lambda: store.patch(key_of(pod), body, subresource="status")) == ["c,p,r"]
            other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "n"}}
            assert await after(lambda: store.create(other)) == []
            foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wished", "namespace": "n"}}
            assert await after(lambda: store.create(foreign)) == ["c,p,r,wished"]
            assert await after(lambda: store.delete(wished)) == ["c,p,r"]
            store.served = frozenset(RESOURCES) - {RAY_CLUSTERS}
            looks.clear()
            await asyncio.sleep(1500)
            assert looks  # kinds that are served are part of what is observed

    virtual_time.run(case())


def test_the_clock_makes_it_looked_at() -> None:
    async def case() -> None:
        store, calls = Store(now=now), Calls()
        parent = store.create(job("a"))
        async with running(operator_of(store, calls, stamping(600, "one"))):
            await asyncio.sleep(3650)
            assert store.get(key_for(parent))["data"]["count"] == "7"

    virtual_time.run(case())


def test_a_stale_parent_is_not_acted_upon() -> None:
    """The child was made, reported in the parent's status and deleted again; the cache saw only the last."""
    made: list[Sequence[Action]] = []

    def plan(observation: Observation) -> list[Action]:
        if observation.parent.get("status", {}).get("phase") == "Failed" or observation.objects:
            return []
        made.append(actions := [Create(child(observation.parent, "ConfigMap", "once", "v1"))])
        return actions

    async def case() -> None:
        store, calls = Store(now=now), Calls()
        lagging = True

        def fault(moment: str, call: Call) -> Exception | None:
            if lagging and call.verb == "watch" and call.resource == TRAINING_JOBS and moment == "after":
                return NoAnswerError("late")
            return None

        calls.fault = fault
        parent = store.create(job("a"))
        operator = operator_of(store, calls, Planner(plan, lambda _: (), lambda _: ()))
        async with running(operator):
            await asyncio.sleep(5)
            assert calls.writes == ["create configmaps/n/once"]
            store.patch(key_of(parent), {"status": {"phase": "Failed"}}, subresource="status")
            store.delete(ObjectKey(CONFIG_MAPS, "n", "once"))
            await asyncio.sleep(20)
            assert len(made) > 2  # it was wished, on the ground of what was known
            assert calls.writes == ["create configmaps/n/once"]
            assert b'errors_total{error="StaleError",kind="TrainingJob"}' in operator.metrics.exposed()
            lagging = False
            await asyncio.sleep(120)
            made.clear()
            await asyncio.sleep(600)
            assert made == []

    virtual_time.run(case())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_after_a_fault_of_any_call_the_end_is_the_same(moment: str) -> None:
    """A fault at each call in turn, of one kind after the other: the reflectors', the elector's, the workers'."""
    errors = [ConflictError("c"), ThrottledError("t", 5.0), UnavailableError("u"), NoAnswerError("n")]

    def outcome(fail_at: int) -> tuple[bool, dict[str, Any]]:
        async def case() -> tuple[bool, dict[str, Any]]:
            store, calls = Store(now=now), Calls()
            store.create(job("a"))
            numbers = iter(range(10**6))
            failed = False

            def fault(when: str, _: Call) -> Exception | None:
                nonlocal failed
                if when == moment and next(numbers) == fail_at:
                    failed = True
                    return errors[fail_at % len(errors)]
                return None

            calls.fault = fault
            async with running(operator_of(store, calls, elect=True)):
                await asyncio.sleep(20)
            return failed, ended(store)

        return virtual_time.run(case())

    undisturbed = outcome(-1)[1]
    assert len(undisturbed) == 4
    number = 0
    while True:
        failed, end = outcome(number)
        assert end == undisturbed, f"call {number}"
        if not failed:
            break
        number += 1
    assert number > 30


def ended(store: Store) -> dict[str, Any]:
    """Objects at the end without what the moment of their making decides."""
    found = {}
    for key, item in store.objects.items():
        timeless = {name: item[name] for name in ("spec", "status", "reason", "type") if name in item}
        found[str(key)] = {**timeless, "data": {"by": item.get("data", {}).get("by")}}
    found[str(LEASE)] = {"spec": {"holderIdentity": store.objects[LEASE]["spec"]["holderIdentity"]}}
    return found


def test_a_fault_of_the_plan_concerns_one_object(caplog: pytest.LogCaptureFixture) -> None:
    good = stamping(0, "one")

    def plan(observation: Observation) -> Sequence[Action]:
        if observation.parent["metadata"]["name"] == "bad":
            raise KeyError("what is this")
        return good.plan(observation)

    async def case() -> None:
        store, calls = Store(now=now), Calls()
        for name in ("bad", "good"):
            store.create(job(name))
        operator = operator_of(store, calls, replace(good, plan=plan), workers=1)
        async with running(operator):
            await asyncio.sleep(300)
            assert key_for(job("good")) in store.objects
            assert operator.alive() == {}
            text = operator.metrics.exposed().decode()
            errors = 'modelyard_operator_reconcile_errors_total{error="KeyError",kind="TrainingJob"} '
            count = float(text.split(errors)[1].split("\n")[0])
            assert 10 < count < 20  # backed off

    virtual_time.run(case())
    assert "what is this" in caplog.text


@pytest.mark.parametrize("refusal", [InvalidError("spec.x: no"), ForbiddenError("exceeded quota")])
def test_what_the_server_refuses_is_told_to_the_owner_once_and_tried_again(refusal: Exception) -> None:
    async def case() -> None:
        store, calls = Store(now=now), Calls()
        refuses = True
        calls.fault = lambda _, call: refusal if refuses and str(call) == "create configmaps/n/a-stamp" else None
        store.create(job("a"))
        async with running(operator_of(store, calls)):
            await asyncio.sleep(600)
            events = [item for item in store.page(EVENTS).items if item["reason"] == "Refused"]
            assert [(event["type"], event["message"]) for event in events] == [("Warning", str(refusal))]
            (told,) = store.objects[key_of(job("a"))]["status"]["conditions"]
            wanted = {"type": "Progressing", "status": "False", "reason": "Refused", "message": str(refusal)}
            assert wanted.items() <= told.items()
            refuses = False
            await asyncio.sleep(61)
            assert key_for(job("a")) in store.objects

    virtual_time.run(case())


def test_of_two_one_works_and_the_other_goes_on_at_once_when_it_stops() -> None:
    async def case() -> None:
        store, calls = Store(now=now), [Calls(), Calls()]
        first, second = (
            operator_of(store, calls[number], stamping(10, name), name, elect=True)
            for number, name in enumerate(("one", "two"))
        )
        store.create(job("a"))
        async with running(first) as stop:
            await asyncio.sleep(1)
            async with running(second):
                await asyncio.sleep(100)
                assert len(calls[0].writes) > 10
                assert calls[1].writes == []
                assert (first.ready(), second.ready()) == ({}, {})
                assert b"operator_leader 1.0" in first.metrics.exposed()
                assert b"operator_leader 0.0" in second.metrics.exposed()
                stop.set()
                before = list(calls[0].writes)
                await asyncio.sleep(4)
                assert calls[1].all[-1].resource == LEASES
                assert store.objects[LEASE]["spec"]["holderIdentity"] == "two"
                await asyncio.sleep(100)
                assert len(calls[1].writes) > 9
                assert calls[0].writes == before
        assert store.objects[LEASE]["spec"]["holderIdentity"] == ""

    virtual_time.run(case())


def test_a_lost_lease_ends_it() -> None:
    async def case() -> None:
        store, calls = Store(now=now), Calls()
        operator = operator_of(store, calls, stamping(1, "one"), elect=True)
        store.create(job("a"))
        task = asyncio.create_task(operator.run(asyncio.Event()))
        await asyncio.sleep(10)
        store.patch(LEASE, {"spec": {"holderIdentity": "two"}})
        await asyncio.sleep(2.5)
        written = len(calls.writes)
        with pytest.raises(ExceptionGroup) as raised:
            await task
        assert raised.value.subgroup(LeadershipLostError) is not None
        await asyncio.sleep(100)
        assert len(calls.writes) == written
        assert store.objects[LEASE]["spec"]["holderIdentity"] == "two"

    virtual_time.run(case())


@pytest.fixture
def hanging() -> Any:
    class Hanging(MemoryCluster):
        async def create(self, item: Json) -> Json:
            if item["kind"] == "ConfigMap":
                await asyncio.sleep(seconds[0])
            return await super().create(item)

    seconds = [1.0]
    Hanging.seconds = seconds  # type: ignore[attr-defined]
    return Hanging


@pytest.mark.parametrize(("takes_seconds", "is_made"), [(2.0, True), (1000.0, False)])
def test_it_stops_soon_and_in_order(hanging: Any, takes_seconds: float, is_made: bool) -> None:
    """A look under way may end; one that does not is cut off, and only then is the lease given back."""
    hanging.seconds[0] = takes_seconds

    async def case() -> None:
        store = Store(now=now)
        wished = Habits(identity="one", lease_namespace="system", elect=True)
        operator = Operator(hanging(store), stamping(0, "one"), ask, wished, Metrics(), now)
        parent = store.create(job("a"))
        stop = asyncio.Event()
        task = asyncio.create_task(operator.run(stop))
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        stop.set()
        await task
        assert asyncio.get_running_loop().time() - began < 5
        assert (key_for(parent) in store.objects) is is_made
        assert store.objects[LEASE]["spec"]["holderIdentity"] == ""

    virtual_time.run(case())


def test_what_it_says_of_itself_is_true(hanging: Any) -> None:
    hanging.seconds[0] = 10_000.0

    async def case() -> None:
        store, calls = Store(now=now, served=frozenset(RESOURCES) - {TRAINING_JOBS}), Calls()
        away = True
        calls.fault = lambda _, call: UnavailableError("down") if away and call.resource == RAY_JOBS else None
        wished = Habits(identity="one", lease_namespace="system")
        operator = Operator(hanging(store, calls), stamping(0, "one"), ask, wished, Metrics(), now)
        async with running(operator):
            await asyncio.sleep(1)
            assert operator.ready() == {
                "rayjobs.ray.io": "not read yet",
                "trainingjobs.modelyard.dev": "not served: are the CRDs installed?",
            }
            away, store.served = False, frozenset(RESOURCES)
            await asyncio.sleep(120)
            assert operator.ready() == {}
            away = True
            store.create(child(store.create(job("a")), RAY_JOBS.kind, "r"))
            await asyncio.sleep(50)
            assert operator.ready() == {}
            await asyncio.sleep(30)
            assert list(operator.ready()) == ["rayjobs.ray.io"]
            assert operator.ready()["rayjobs.ray.io"].startswith("not followed for ")
            away = False
            await asyncio.sleep(300)
            assert operator.ready() == {}
            assert operator.alive() == {"trainingjobs.modelyard.dev/n/a": "a worker has looked at it for too long"}

    virtual_time.run(case())


def test_probes_are_asked_before_the_plan_is_made() -> None:
    asked: list[str] = []

    def plan(observation: Observation) -> list[Action]:
        assert {url: probe.healthy for url, probe in observation.probes.items()} == {"http://a/": True}
        asked.append(observation.probes["http://a/"].url)
        return [Requeue(100)]

    async def case() -> None:
        store = Store(now=now)
        store.create(job("a"))
        async with running(operator_of(store, Calls(), Planner(plan, lambda _: (), lambda _: ("http://a/",)))):
            await asyncio.sleep(350)
        assert len(asked) == 4

    virtual_time.run(case())
