"""Reads a growing JSONL file as it grows: how the driver sees what the workers do, on any shared file system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Follower:
    """Each `poll` returns the rows that were completed since the last one; a torn last line waits for its end."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self.path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def poll(self) -> list[dict[str, Any]]:
        """New rows, oldest first; lines that are no JSON objects are passed over."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except FileNotFoundError:
            return []
        complete = chunk.rpartition(b"\n")[0]
        self._offset += len(complete) + 1 if complete else 0
        rows = []
        for line in complete.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
        return rows
