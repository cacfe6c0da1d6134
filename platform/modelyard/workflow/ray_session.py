"""Ray for as long as a driver needs it: started in the background while text is prepared, stopped at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class RaySession:
    """`start` and `stop` come from the rooms that know Ray; this only says when. One use, one driver."""

    def __init__(self, start: Callable[[], Any], stop: Callable[[], None]) -> None:
        self._start = start
        self._stop = stop
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Start Ray in the background; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ray-start", daemon=True)
            self._thread.start()

    def ready(self) -> None:
        """Wait until Ray is up; raises what its start raised."""
        self.begin()
        assert self._thread is not None
        self._thread.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop Ray when it was started."""
        if self._thread is not None:
            self._thread.join()
            if self._error is None:
                self._stop()

    def _run(self) -> None:
        try:
            self._start()
        except BaseException as error:  # handed to whoever waits in `ready`
            self._error = error
