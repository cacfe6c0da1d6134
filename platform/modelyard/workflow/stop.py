"""A wish to stop, made by Ctrl-C, SIGTERM or a caller, heard by whichever stage is at work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from modelyard.errors import StoppedError


class StopRequest:
    """Set once; `exit_code` is 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.exit_code = 130

    @property
    def asked(self) -> bool:
        """Whether someone asked."""
        return self._asked.is_set()

    def ask(self, exit_code: int = 130) -> None:
        """Ask the run to save and stop."""
        if not self.asked:
            self.exit_code = exit_code
        self._asked.set()

    def wait(self, seconds: float) -> None:
        """Wait that long, or until someone asks."""
        self._asked.wait(seconds)

    def check(self) -> None:
        """Raise StoppedError when someone asked: for stages that may be cut anywhere."""
        if self.asked:
            raise self.error()

    def error(self) -> StoppedError:
        """The error that ends a run that was asked to stop."""
        return StoppedError(
            "stopped as asked; everything done so far is saved",
            hint="the same command goes on from here",
            exit_code=self.exit_code,
        )


@contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[Callable[[], None]]:
    """Turn SIGINT and SIGTERM into `stop.ask`; a second one acts as it would without us.

    Yields a function to call now and then: it takes the signals back from Ray, whose start puts a handler of its own
    in front that prints stack traces. Outside the main thread (a notebook's worker, a test) signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def heard(number: int, frame: FrameType | None) -> None:
        del frame
        stop.ask(128 + number)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def listen() -> None:
        if not stop.asked:
            for number in before:
                signal.signal(number, heard)

    listen()
    try:
        yield listen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
