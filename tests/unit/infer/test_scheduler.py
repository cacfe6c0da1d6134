"""The scheduler's plans: by table, and what must hold of any traffic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.infer.scheduler import Advance, Limits, SequenceView, plan_step


def view(key: int, pending: int, max_chunk: int | None = None) -> SequenceView:
    return SequenceView(key, pending, max_chunk)


CASES = {
    "nothing to do": ([], [], Limits(4, 8), [], []),
    "a prompt is fed whole": ([], [view(1, 5)], Limits(4, 8), [(1, 5)], [1]),
    "a long prompt is cut at the budget": ([], [view(1, 20)], Limits(4, 8), [(1, 8)], [1]),
    "a chunk may be bounded": ([], [view(1, 20, 3), view(2, 2)], Limits(4, 8), [(1, 3), (2, 2)], [1, 2]),
    "decoding comes before prompts": ([view(1, 1), view(2, 9)], [], Limits(4, 8), [(1, 1), (2, 7)], []),
    "a running prompt comes before new ones": ([view(1, 9)], [view(2, 3)], Limits(4, 8), [(1, 8)], []),
    "what is left goes to the next": ([view(1, 5)], [view(2, 9)], Limits(4, 8), [(1, 5), (2, 3)], [2]),
    "no row is free": ([view(1, 1), view(2, 1)], [view(3, 1)], Limits(2, 8), [(1, 1), (2, 1)], []),
    "rows are free, the budget is not": ([view(1, 1)], [view(2, 7), view(3, 1)], Limits(4, 8), [(1, 1), (2, 7)], [2]),
    "a one-token prompt waits its turn": ([view(1, 8)], [view(2, 1)], Limits(4, 8), [(1, 8)], []),
}


@pytest.mark.parametrize("case", CASES)
def test_plan(case: str) -> None:
    running, waiting, limits, advances, admitted = CASES[case]
    plan = plan_step(running, waiting, limits)
    assert plan.advances == tuple(Advance(*a) for a in advances)
    assert plan.admitted == tuple(admitted)


@st.composite
def traffic(draw: st.DrawFn) -> tuple[Limits, list[tuple[int, int, int, int | None]]]:
    """Limits, and requests as (arrival step, prompt tokens, tokens to generate, largest chunk)."""
    rows = draw(st.integers(1, 5))
    limits = Limits(rows, draw(st.integers(rows, 24)))
    request = st.tuples(
        st.integers(0, 12), st.integers(1, 40), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 9))
    )
    return limits, sorted(draw(st.lists(request, max_size=12)), key=lambda r: r[0])


@given(traffic())
def test_any_traffic_ends_within_the_limits_and_in_order(
    given_: tuple[Limits, list[tuple[int, int, int, int | None]]],
) -> None:
    limits, requests = given_
    arrivals = dict(enumerate(requests))
    pending = {key: request[1] for key, request in arrivals.items()}
    to_generate = {key: request[2] for key, request in arrivals.items()}
    waiting: list[int] = []
    running: list[int] = []
    admitted: list[int] = []
    work = sum(request[1] + request[2] for request in requests)
    steps = 0
    while arrivals or waiting or running:
        waiting += [key for key, request in arrivals.items() if request[0] <= steps]
        arrivals = {key: request for key, request in arrivals.items() if request[0] > steps}
        views = {key: view(key, pending[key], requests[key][3]) for key in (*running, *waiting)}
        plan = plan_step([views[k] for k in running], [views[k] for k in waiting], limits)
        advances = {advance.key: advance.num_tokens for advance in plan.advances}

        assert len(advances) == len(plan.advances)
        assert sum(advances.values()) <= limits.max_batch_tokens
        assert len(running) + len(plan.admitted) <= limits.max_sequences
        assert list(plan.admitted) == waiting[: len(plan.admitted)]
        assert all(1 <= count <= pending[key] for key, count in advances.items())
        assert all(advances.get(key) == 1 for key in running if pending[key] == 1)  # who decodes always advances
        assert bool(advances) == bool(running or waiting)  # never idle while there is work

        waiting = waiting[len(plan.admitted) :]
        running += plan.admitted
        admitted += plan.admitted
        for key, count in advances.items():
            pending[key] -= count
            if pending[key] == 0:
                to_generate[key] -= 1
                pending[key] = 1
            if to_generate[key] == 0:
                running.remove(key)
        steps += 1
        assert steps <= work + 13
    assert admitted == list(range(len(requests)))
