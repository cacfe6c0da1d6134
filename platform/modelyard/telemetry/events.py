"""What happened to a run, in order: `events.jsonl`, one JSON object a line, secrets taken out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.telemetry.redaction import redact_value
from modelyard.telemetry.rows import RowWriter


def utc_now() -> str:
    """The time as records carry it: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def row_time() -> str:
    """The time as rows of a log carry it: RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Events:
    """Writes a run's events; every row carries the attempt that wrote it."""

    def __init__(self, path: Path, *, attempt: int = 0, now: Callable[[], str] = row_time) -> None:
        self.attempt = attempt
        self._writer = RowWriter(path)
        self._now = now

    def add(self, event: str, **fields: Any) -> None:
        """Append an event: a CamelCase word and what belongs to it (plain JSON values)."""
        row = {"time": self._now(), "attempt": self.attempt, "event": event, **redact_value(fields)}
        self._writer.write(row)
