"""Where the status document goes besides the yard: one small protocol, a file today, the operator's ConfigMap later."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modelyard.records import StatusDocument
from modelyard.yard import replace


class Sink(Protocol):
    """Takes the whole document at every change; must not raise for a passing fault of its own."""

    def __call__(self, status: StatusDocument) -> None: ...


def to_file(path: Path) -> Sink:
    """A sink that replaces `path` atomically with the document's JSON."""

    def write(status: StatusDocument) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, status.to_json())

    return write
