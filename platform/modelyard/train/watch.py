"""A thread that sees when a worker stands still: it writes the stacks of all threads, then ends the process."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

WAITING = "waiting for the other workers"
START_SECONDS = 900.0  # before the first step: loading and sharding a large model is no hang. Chosen by feel
EXIT_CODE = 86  # tells a hang from other deaths in Ray's words about the worker


class Watchdog:
    """Ends the process when no phase begins for `timeout_seconds`; `told` is called before, with (step, phase).

    Step 0 is the start, which has at least START_SECONDS.
    """

    def __init__(self, stacks: Path, *, timeout_seconds: float, told: Callable[[int, str], None]) -> None:
        self._stacks = stacks
        self._timeout = timeout_seconds
        self._told = told
        self._now = (0, "start", time.monotonic())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def phase(self, step: int, name: str) -> None:
        """The worker begins something."""
        self._now = (step, name, time.monotonic())

    @property
    def where(self) -> tuple[int, str]:
        """Step and phase now."""
        return self._now[0], self._now[1]

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._timeout / 4)):
            step, name, began = self._now
            allowed = self._timeout if step else max(self._timeout, START_SECONDS)
            if time.monotonic() - began < allowed:
                continue
            with self._stacks.open("a", encoding="utf-8") as file:
                file.write(f"step {step} stood in {name!r} for {allowed:.0f} s; stacks of all threads:\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
            self._told(step, name)
            os._exit(EXIT_CODE)
