"""What the API server refuses is told in the status, keeps its place there while it is tried again, and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

import pytest

from modelyard_operator.cluster.api import ForbiddenError, InvalidError
from modelyard_operator.cluster.memory import Call, MemoryCluster
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.conditions import condition_of
from modelyard_operator.kinds.objects import EVENTS, RAY_JOBS, RAY_SERVICES, Json, Resource, key_of
from modelyard_operator.kinds.observations import Probe
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan import interest, plan, probes
from modelyard_operator.runtime.controller import Planner
from modelyard_operator.runtime.metrics import Metrics
from modelyard_operator.runtime.operator import Habits, Operator
from support import virtual_time
from support.deployment_worlds import deployment, digest, index
from support.job_worlds import BEGIN, claim, evaluation, job

SETTINGS = Settings()
PLANNER = Planner(partial(plan, settings=SETTINGS), partial(interest, settings=SETTINGS), probes)


def now() -> datetime:
    return BEGIN + timedelta(seconds=asyncio.get_running_loop().time())


async def ask(url: str) -> Probe:
    return Probe(url, healthy=False)


@pytest.mark.parametrize(
    ("parent", "around", "refused"),
    [
        (job(), (), RAY_JOBS),
        (evaluation(), (), RAY_JOBS),
        (deployment(), (index([digest(1)], {"stable": 1}),), RAY_SERVICES),
    ],
    ids=["TrainingJob", "EvaluationJob", "ModelDeployment"],
)
@pytest.mark.parametrize("refusal", [ForbiddenError("exceeded quota: pods"), InvalidError("the webhook says no")])
def test_a_refused_child_is_told_until_it_is_there(
    parent: Json, around: tuple[Json, ...], refused: Resource, refusal: Exception
) -> None:
    refusing = [refusal]
    tells: list[Call] = []

    def hook(moment: Literal["before", "after"], call: Call) -> None:
        if moment == "before" and call.resource == EVENTS:
            tells.append(call)
        if refusing and moment == "before" and call.verb == "create" and call.resource == refused:
            raise refusing[0]

    async def case() -> None:
        store = Store(now=now)
        for item in (claim(), *around, parent):
            store.create(item)
        operating = asyncio.create_task(
            Operator(MemoryCluster(store, hook), PLANNER, ask, Habits(), Metrics(), now).run(asyncio.Event())
        )
        await asyncio.sleep(5)
        told = progressing(store, parent)
        assert (told["status"], told["reason"], told["message"]) == ("False", "Refused", str(refusal))
        quiet = store.objects[key_of(parent)]["metadata"]["resourceVersion"]
        tells.clear()
        await asyncio.sleep(600)
        assert store.objects[key_of(parent)]["metadata"]["resourceVersion"] == quiet, "tried again, told once"
        assert tells == [], "not even for the server to say that it is told"
        assert [one["message"] for one in store.page(EVENTS).items if one["reason"] == "Refused"] == [str(refusal)]
        refusing.clear()
        await asyncio.sleep(600)
        assert any(key.resource == refused for key in store.objects)
        assert progressing(store, parent)["reason"] != "Refused"
        operating.cancel()
        with suppress(asyncio.CancelledError):
            await operating

    virtual_time.run(case())


def progressing(store: Store, parent: Json) -> Mapping[str, Any]:
    found = condition_of(store.objects[key_of(parent)], "Progressing")
    assert found is not None
    return found
