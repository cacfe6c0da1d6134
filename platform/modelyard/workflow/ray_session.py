"""Ray for as long as a driver needs it: started in the background while text is prepared, stopped at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class RaySession:
    """`start` and `stop` come from the rooms that know Ray; this only says when. One use, one driver.

    One thread starts Ray, lives as long as it, and stops it: Ray's processes ask the kernel to be killed when their
    parent goes (PR_SET_PDEATHSIG), and to the kernel the parent is the thread that started them.
    """

    def __init__(self, start: Callable[[], Any], stop: Callable[[], None]) -> None:
        self._start = start
        self._stop = stop
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._enough = threading.Event()
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Start Ray in the background; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="ray-session", daemon=True)
            self._thread.start()

    def ready(self) -> None:
        """Wait until Ray is up; raises what its start raised."""
        self.begin()
        self._up.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop Ray when it was started."""
        if self._thread is not None:
            self._enough.set()
            self._thread.join()

    def _live(self) -> None:
        try:
            self._start()
        except BaseException as error:  # handed to whoever waits in `ready`
            self._error = error
            return
        finally:
            self._up.set()
        self._enough.wait()
        self._stop()
