"""The operator dies, is refused, is not answered, loses its watches, at every single call: nothing comes out otherwise.

Its real runtime on the twin in virtual time; see `support.crashes`. Another process would find no more than what the
server holds, and neither does the operator that starts anew here.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache

import pytest

from modelyard_operator.cluster import executing
from modelyard_operator.cluster.api import NoAnswerError, Writer
from modelyard_operator.cluster.memory import Call
from modelyard_operator.cluster.observing import LOOKED_AT
from modelyard_operator.kinds.actions import Action, Create
from modelyard_operator.kinds.objects import Json
from support.charts import NAMESPACE, objects
from support.crashes import plans
from support.crashes.faults import Fault, lagging
from support.crashes.scenarios import SCENARIOS
from support.crashes.stages import Scenario, Stage
from support.crashes.trials import Report, try_all
from support.crashes.verdicts import differences

_ROLE = f"modelyard-{NAMESPACE}"
_LAGS = (1, 4, 12, 40)  # writes
_reports: dict[str, Report] = {}


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Thousands of warnings about planted faults help nobody; nor does what was played, to the tests that follow."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    plans.forget()
    steady_end.cache_clear()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault_at_every_call_leads_to_the_same_end(name: str) -> None:
    plans.forget()
    report = _reports[name] = try_all(SCENARIOS[name])
    assert not report.faults, f"{len(report.faults)} of {report.num_trials}:\n" + "\n".join(report.faults[:20])
    assert report.num_rejoined > report.num_trials / 2, (
        "an undisturbed run and one that was mended are hardly ever alike"
    )


def test_all_of_them_were_played(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = sum((report.tried for report in _reports.values()), Counter[Fault]())
    with capsys.disabled():
        print(f"\n{kinds.total()} faults in {len(_reports)} scenarios: ", end="")
        print(", ".join(f"{number} x {fault.value}" for fault, number in kinds.items()))
    if _reports.keys() == SCENARIOS.keys():  # else somebody chose among them
        assert set(kinds) == set(Fault)
        assert kinds.total() > 4000


def test_an_operator_that_makes_things_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials themselves: one that takes no answer for a refusal, and tries another name."""
    real = executing._do

    async def naive(cluster: Writer, parent: Json, action: Action, now: Callable[[], datetime]) -> None:
        try:
            await real(cluster, parent, action, now)
        except NoAnswerError:
            if isinstance(action, Create):
                metadata = {**action.item["metadata"], "name": action.item["metadata"]["name"] + "-again"}
                await cluster.create({**action.item, "metadata": metadata})
            raise

    monkeypatch.setattr(executing, "_do", naive)
    short = replace(SCENARIOS["create"], course=SCENARIOS["create"].course[:3])
    found = [words for words in try_all(short).faults if "created 1 times instead of 0" in words]
    assert len(found) >= 8, "of every child one"
    assert all(words.startswith(Fault.timed_out.value) for words in found)


@pytest.mark.parametrize("lag", _LAGS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_cache_that_lags_behind_makes_no_duplicate(name: str, lag: int) -> None:
    chance = random.Random(f"{name} {lag}")
    late = {resource: chance.randrange(lag + 1) for resource in LOOKED_AT}
    with Stage(steady(SCENARIOS[name]), door=lagging(late)) as stage:
        stage.play()
    assert not list(differences(steady_end(name), stage))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_charts_role_allows_every_call(name: str) -> None:
    """Beside the lease, which has a role of its own. What the role is worth at a real server, test_chart tells."""
    (role,) = [item for item in objects({}) if item["kind"] == "ClusterRole" and item["metadata"]["name"] == _ROLE]
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for verb, group, resource in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"])
    }
    calls = [point.call for point in steady_end(name).faults.points]
    asked = {(call.verb, call.resource.group, _place(call)) for call in calls if call.resource is not None}
    assert len(asked) > 20
    assert asked <= granted, asked - granted


def _place(call: Call) -> str:
    assert call.resource is not None
    return "/".join(part for part in (call.resource.plural, call.subresource) if part)


def steady(scenario: Scenario) -> Scenario:
    """KubeRay acts in every second: who sees things late must not be late only because nobody acted for long."""
    moves = ((move,) if callable(move) else (1.0,) * round(move) for move in scenario.course)
    return replace(scenario, course=(*itertools.chain(*moves), *(1.0,) * 10))


@cache
def steady_end(name: str) -> Stage:
    """The end of the undisturbed run, played once."""
    with Stage(steady(SCENARIOS[name])) as stage:
        return stage.play()
