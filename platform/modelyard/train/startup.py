"""What the start of a worker spends its seconds on."""

from __future__ import annotations

import time


class StartClock:
    """Seconds by phase since `began` (seconds since the epoch); `open` until they were told."""

    def __init__(self, began: float) -> None:
        self._last = began
        self._phases: dict[str, float] = {}
        self.open = True

    def lap(self, phase: str) -> None:
        """A phase ends now."""
        now = time.time()
        self._phases[phase] = round(now - self._last, 3)
        self._last = now

    def close(self) -> dict[str, float]:
        """The phases, in order; laps end here."""
        self.open = False
        return dict(self._phases)
