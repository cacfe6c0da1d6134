"""Where the status document goes besides the yard: one small protocol, a file today, the operator's ConfigMap later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from modelyard.records import StatusDocument
from modelyard.yard import durable_folder, replace


class Sink(Protocol):
    """Takes the whole document at every change; must not raise for a passing fault of its own."""

    def __call__(self, status: StatusDocument) -> None: ...


def to_file(path: Path, *, guard: Callable[[], None] | None = None) -> Sink:
    """A sink that replaces `path` atomically with the document's JSON; `guard` may raise right before."""

    def write(status: StatusDocument) -> None:
        durable_folder(path.parent)
        replace(path, status.to_json(), guard=guard)

    return write
