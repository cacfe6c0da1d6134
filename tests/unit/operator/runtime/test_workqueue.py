"""The queue of keys: each once, never by two workers, later after failures."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_operator.kinds.objects import TRAINING_JOBS, ObjectKey
from modelyard_operator.runtime.workqueue import LONGEST_DELAY_SECONDS, QueueClosedError, WorkQueue
from support import virtual_time

A, B = (ObjectKey(TRAINING_JOBS, "n", name) for name in "ab")


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_key_that_waits_is_not_added_twice() -> None:
    async def case() -> None:
        queue = WorkQueue()
        for key in (A, B, A):
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get(), await queue.get()] == [A, B]

    virtual_time.run(case())


def test_a_key_that_changes_while_it_is_looked_at_comes_again_and_not_before_that_is_done() -> None:
    async def case() -> None:
        queue = WorkQueue()
        queue.add(A)
        assert await queue.get() == A
        queue.add(A)
        queue.add(A)
        second = asyncio.create_task(queue.get())
        await asyncio.sleep(100)
        assert not second.done()
        queue.done(A)
        assert await second == A
        queue.done(A)
        assert len(queue) == 0

    virtual_time.run(case())


def test_failures_wait_ever_longer_and_a_success_forgets_them() -> None:
    async def case() -> None:
        queue = WorkQueue()
        delays = []
        for _ in range(12):
            began = now()
            queue.fail(A)
            assert await queue.get() == A
            queue.done(A)
            delays.append(now() - began)
        assert delays[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
        assert delays[-1] == pytest.approx(LONGEST_DELAY_SECONDS)
        queue.succeed(A)
        assert queue.fail(A) == pytest.approx(0.1)
        assert queue.fail(B, at_least_seconds=7) == 7

    virtual_time.run(case())


def test_of_two_times_the_earlier_one_stands() -> None:
    async def case() -> None:
        queue = WorkQueue()
        for seconds in (50, 5, 500):
            queue.add_after(A, seconds)
        assert await queue.get() == A
        assert now() == pytest.approx(5)
        queue.done(A)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await queue.get()

    virtual_time.run(case())


def test_a_success_drops_what_was_due_later() -> None:
    async def case() -> None:
        queue = WorkQueue()
        queue.add_after(A, 50)
        queue.succeed(A)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await queue.get()

    virtual_time.run(case())


def test_closing_ends_all_who_wait_and_hands_nothing_out() -> None:
    async def case() -> None:
        queue = WorkQueue()
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.add_after(A, 1)
        queue.close()
        queue.add(B)
        for task in waiting:
            with pytest.raises(QueueClosedError):
                await task

    virtual_time.run(case())


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10), st.floats(0, 3)), min_size=1, max_size=40),
    st.integers(1, 4),
)
def test_every_change_is_looked_at_after_it_happened_by_one_worker_at_a_time(
    changes: list[tuple[str, float, float]], num_workers: int
) -> None:
    """Changes (name, when, how long a look takes): whatever the order, the last look begins after the last change."""

    async def case() -> None:
        queue = WorkQueue()
        last_change: dict[str, float] = {}
        last_look: dict[str, float] = {}
        looking: Counter[str] = Counter()

        async def change(name: str, when: float) -> None:
            await asyncio.sleep(when)
            last_change[name] = now()
            queue.add(ObjectKey(TRAINING_JOBS, "n", name))

        async def work(takes: dict[str, float]) -> None:
            while True:
                key = await queue.get()
                looking[key.name] += 1
                assert looking[key.name] == 1
                last_look[key.name] = now()
                await asyncio.sleep(takes[key.name])
                looking[key.name] -= 1
                queue.done(key)

        takes = {name: seconds for name, _, seconds in changes}
        workers = [asyncio.create_task(work(takes)) for _ in range(num_workers)]
        await asyncio.gather(*(change(name, when) for name, when, _ in changes))
        await asyncio.sleep(1000)
        assert not any(worker.done() for worker in workers)
        for worker in workers:
            worker.cancel()
        assert set(last_look) == set(last_change)
        assert all(last_look[name] >= last_change[name] for name in last_change)

    virtual_time.run(case())
