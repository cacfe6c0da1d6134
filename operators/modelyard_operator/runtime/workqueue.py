"""Keys that wait to be looked at: each once, never by two workers at a time, after failures ever later.

Times are the event loop's (monotonic). What is added while a worker has it comes again when that worker is done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from modelyard_operator.kinds.objects import ObjectKey

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 60.0


def loop_time() -> float:
    """The event loop's clock."""
    return asyncio.get_running_loop().time()


class QueueClosedError(Exception):
    """No more work: the operator stops."""


@dataclass
class WorkQueue:
    """`get` a key, then `done` it; in between `fail`, `succeed` or `add_after` say when it comes again."""

    _ready: deque[ObjectKey] = field(default_factory=deque)
    _dirty: set[ObjectKey] = field(default_factory=set)  # to be looked at: ready, or when the worker is done
    _working: set[ObjectKey] = field(default_factory=set)
    _failures: dict[ObjectKey, int] = field(default_factory=dict)
    _timers: dict[ObjectKey, asyncio.TimerHandle] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: ObjectKey) -> None:
        """Look at it as soon as a worker is free."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._news.set()

    def add_after(self, key: ObjectKey, seconds: float) -> None:
        """Look at it then, unless an earlier time stands already."""
        due, standing = loop_time() + seconds, self._timers.get(key)
        if standing is not None:
            if standing.when() <= due:
                return
            standing.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(due, self._ring, key)

    def fail(self, key: ObjectKey, at_least_seconds: float = 0.0) -> float:
        """It ended early: look again after a delay that doubles with each failure in a row; returns that delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least_seconds, min(FIRST_DELAY_SECONDS * 2.0 ** min(failures, 20), LONGEST_DELAY_SECONDS))
        self.add_after(key, delay)
        return delay

    def succeed(self, key: ObjectKey) -> None:
        """It was looked at: the next failure is a first one, and earlier wishes to look later are met."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def get(self) -> ObjectKey:
        """The key that waits longest; QueueClosedError when there is to be no more work."""
        while not self._closed:
            if self._ready:
                key = self._ready.popleft()
                self._dirty.discard(key)
                self._working.add(key)
                return key
            self._news.clear()
            await self._news.wait()
        raise QueueClosedError

    def done(self, key: ObjectKey) -> None:
        """The worker is done with it."""
        self._working.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._news.set()

    def close(self) -> None:
        """No key is handed out any more."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._news.set()

    def _ring(self, key: ObjectKey) -> None:
        self._timers.pop(key, None)
        self.add(key)
