"""What the twin has beyond an API server: faults where they are wanted, and not a grain of chance."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard_operator.cluster.api import ConflictError, InvalidError, NoAnswerError, WatchEvent
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.objects import CONFIG_MAPS, EVENTS, TRAINING_JOBS, ObjectKey, key_of, owner_reference
from support import virtual_time

KEY = ObjectKey(CONFIG_MAPS, "n", "a")


def item(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}, "data": data}


class Crash(BaseException):
    """A process that ends here."""


@pytest.mark.parametrize(("moment", "acted"), [("before", False), ("after", True)])
@pytest.mark.parametrize(
    "fault", [Crash(), ConflictError("409"), NoAnswerError("late")], ids=lambda e: type(e).__name__
)
def test_a_fault_before_a_call_has_not_acted_and_one_after_it_has(
    moment: str, acted: bool, fault: BaseException
) -> None:
    def hook(when: str, call: Call) -> None:
        if when == moment and call.writes:
            raise fault

    async def case() -> None:
        store = Store()
        cluster = MemoryCluster(store, hook)
        with pytest.raises(type(fault)):
            await cluster.create(item())
        assert (KEY in store.objects) is acted
        if not acted:
            store.create(item())
        with pytest.raises(type(fault)):
            await cluster.patch(KEY, {"data": {"x": "1"}})
        assert store.objects[KEY]["data"] == ({"x": "1"} if acted else {})
        with pytest.raises(type(fault)):
            await cluster.delete(KEY)
        assert (KEY not in store.objects) is acted

    virtual_time.run(case())


def test_the_hook_sees_every_call_with_what_it_is_about() -> None:
    seen: list[str] = []

    async def case() -> None:
        cluster = MemoryCluster(hook=lambda when, call: seen.append(f"{when} {call}"))
        await cluster.create(item())
        await cluster.get(KEY)
        await cluster.list(CONFIG_MAPS, namespace="n")
        await cluster.patch(KEY, {"data": {}})
        await cluster.delete(KEY)
        await cluster.served()

    virtual_time.run(case())
    calls = ["create configmaps/n/a", "get configmaps/n/a", "list configmaps/n", "patch configmaps/n/a"]
    calls += ["delete configmaps/n/a", "served "]
    assert seen == [f"{when} {call}" for call in calls for when in ("before", "after")]


def test_a_watch_can_be_dropped_between_two_events() -> None:
    async def case() -> None:
        store = Store()
        for name in "abc":
            store.create(item(name))
        told: list[WatchEvent] = []

        def hook(when: str, _: Call) -> None:
            if when == "after" and len(told) == 2:
                raise NoAnswerError("dropped")

        async def watched() -> None:
            async for event in MemoryCluster(store, hook).watch(CONFIG_MAPS, resource_version="0", timeout_seconds=60):
                told.append(event)

        with pytest.raises(NoAnswerError):
            await watched()
        assert [event.item["metadata"]["name"] for event in told] == ["a", "b"]
        assert not store.listeners

    virtual_time.run(case())


def test_a_watch_wakes_when_something_is_written_and_ends_in_time() -> None:
    async def case() -> None:
        store = Store()
        times: list[tuple[float, str]] = []
        loop = asyncio.get_running_loop()
        loop.call_at(7, lambda: store.create(item()))
        async for event in MemoryCluster(store).watch(CONFIG_MAPS, resource_version="0", timeout_seconds=60):
            times.append((loop.time(), event.type))
        assert times == [(7, "ADDED"), (60, "BOOKMARK")]

    virtual_time.run(case())


def test_two_runs_are_the_same_to_the_letter() -> None:
    def end() -> str:
        store = Store(now=lambda: datetime(2026, 11, 22, tzinfo=UTC))
        parent = store.create(job())
        for name in "abc":
            child = item(name)
            child["metadata"]["ownerReferences"] = [owner_reference(parent)]
            store.create(child)
        store.delete(KEY)
        return repr((store.objects, store.history))

    assert end() == end()


def job() -> dict[str, Any]:
    metadata = {"name": "j", "namespace": "n"}
    return {"apiVersion": TRAINING_JOBS.api_version, "kind": TRAINING_JOBS.kind, "metadata": metadata}


def test_uids_differ_in_the_eight_characters_that_names_are_made_of() -> None:
    store = Store()
    uids = {store.create(item(f"a{number}"))["metadata"]["uid"][:8] for number in range(1000)}
    assert len(uids) == 1000


def test_garbage_may_wait_until_it_is_collected() -> None:
    store = Store(collects=False)
    parent = store.create(job())
    child = item()
    child["metadata"]["ownerReferences"] = [owner_reference(parent)]
    store.create(child)
    store.delete(key_of(parent))
    assert KEY in store.objects
    store.collect()
    assert store.objects == {}


def test_nothing_that_a_caller_does_to_an_object_reaches_the_store() -> None:
    store, mine = Store(), item(x="1")
    created = dict(store.create(mine))
    mine["data"]["x"] = mine["metadata"]["name"] = "changed"
    for found in (created, dict(store.get(KEY)), dict(store.page(CONFIG_MAPS).items[0])):
        found["data"]["x"] = found["metadata"]["labels"] = "changed"
    change = store.history[0].seen("n", "")
    assert change is not None
    change.item["data"]["x"] = "changed"
    assert store.get(KEY)["data"] == {"x": "1"}
    assert "labels" not in store.get(KEY)["metadata"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "n"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        {"apiVersion": EVENTS.api_version, "kind": "Event", "metadata": {"name": "e", "namespace": "n"},
         "involvedObject": {"namespace": "m"}},
    ],
)  # fmt: skip
def test_what_no_server_takes_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Store().create(wrong)
