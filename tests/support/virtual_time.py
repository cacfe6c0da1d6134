"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Waits by moving the loop's clock."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; having waited for it costs no time."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and no timer is set: nothing will ever happen"
            self.loop.passed(max(timeout, 0.0))
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time is what its timers say. For tests without sockets, threads and processes."""

    def __init__(self) -> None:
        self._virtual = 0.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the loop was made, all of them virtual."""
        return self._virtual

    def passed(self, seconds: float) -> None:
        """Let time pass at once, as for a process that was frozen: timers that are due ring afterwards."""
        self._virtual += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
