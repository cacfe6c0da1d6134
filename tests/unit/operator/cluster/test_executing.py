"""Carrying out a plan: in order, no further than the first fault, events once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard_operator.cluster.api import UnavailableError
from modelyard_operator.cluster.executing import event, execute
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.actions import Create, Delete, Emit, Patch, Requeue
from modelyard_operator.kinds.objects import EVENTS, TRAINING_JOBS, Json, key_of, uid_of
from support import virtual_time

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


def made(kind: str, name: str) -> dict[str, Any]:
    api_version = TRAINING_JOBS.api_version if kind == TRAINING_JOBS.kind else "v1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "n"}}


def parent_in(store: Store) -> Json:
    return store.create(made(TRAINING_JOBS.kind, "job"))


def test_it_stops_at_the_first_fault_with_all_before_it_done() -> None:
    done: list[str] = []

    def hook(when: str, call: Call) -> None:
        if call.name == "c":
            raise UnavailableError("down")
        if when == "after":
            done.append(str(call))

    async def case() -> None:
        store = Store()
        parent = parent_in(store)
        actions = [Create(made("ConfigMap", name)) for name in "abcd"]
        with pytest.raises(UnavailableError):
            await execute(MemoryCluster(store, hook), parent, actions)

    virtual_time.run(case())
    assert done == ["create configmaps/n/a", "create configmaps/n/b"]


@pytest.mark.parametrize(("requeues", "after"), [([], None), ([5.0], 5.0), ([9.0, 3.0, 7.0], 3.0), ([0.0, 1.0], 0.0)])
def test_the_soonest_wish_to_look_again_is_told(requeues: list[float], after: float | None) -> None:
    async def case() -> None:
        store = Store()
        assert await execute(MemoryCluster(store), parent_in(store), [Requeue(s) for s in requeues]) == after

    virtual_time.run(case())


def test_every_action_is_carried_out_as_it_says() -> None:
    async def case() -> None:
        store = Store()
        parent = parent_in(store)
        gone = store.create(made("ConfigMap", "gone"))
        status = Patch(
            key_of(parent), {"status": {"phase": "P"}}, uid_of(parent), parent["metadata"]["resourceVersion"], "status"
        )
        actions = [Emit("Normal", "A", "a"), Create(made("ConfigMap", "b")), status, Delete(key_of(gone), uid_of(gone))]
        await execute(MemoryCluster(store), parent, actions, lambda: NOW)
        names = sorted(f"{key.resource.kind}/{key.name.split('.')[0]}" for key in store.objects)
        assert names == ["ConfigMap/b", "Event/job", "TrainingJob/job"]
        assert store.get(key_of(parent))["status"] == {"phase": "P"}
        told = store.page(EVENTS).items[0]
        assert (told["type"], told["reason"], told["message"]) == ("Normal", "A", "a")
        assert told["lastTimestamp"] == told["firstTimestamp"] == "2026-11-22T10:00:00Z"

    virtual_time.run(case())


def test_an_events_name_is_a_function_of_what_it_tells() -> None:
    parent = {**made(TRAINING_JOBS.kind, "job"), "metadata": {"name": "job", "namespace": "n", "uid": "u"}}
    other = {**parent, "metadata": {**parent["metadata"], "uid": "v"}}
    later = datetime(2027, 1, 1, tzinfo=UTC)

    def name(of: Json, emit: Emit, now: datetime = NOW) -> str:
        found: str = event(of, emit, now)["metadata"]["name"]
        return found

    first = name(parent, Emit("Normal", "A", "b"))
    assert name(parent, Emit("Normal", "A", "b"), later) == first
    different = [
        Emit("Warning", "A", "b"),
        Emit("Normal", "B", "b"),
        Emit("Normal", "A", "c"),
        Emit("Normal", "Ab", ""),
    ]
    turned = {**parent, "status": {"conditions": [{"lastTransitionTime": "2026-11-22T11:00:00Z"}]}}
    others = (other, turned)
    names = {first, *(name(of, Emit("Normal", "A", "b")) for of in others), *(name(parent, one) for one in different)}
    assert len(names) == 7
    assert all(len(each) <= 253 for each in names)


def test_a_long_message_is_cut_between_characters() -> None:
    parent = {**made(TRAINING_JOBS.kind, "job"), "metadata": {"name": "job", "namespace": "n", "uid": "u"}}
    message = event(parent, Emit("Normal", "A", "é" * 1000 + "x"), NOW)["message"]
    assert message == "é" * 512
