"""Where the status document goes besides the yard: one small protocol, a file today, the operator's ConfigMap later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from modelyard.errors import StorageError
from modelyard.records import StatusDocument
from modelyard.yard import durable_folder, replace

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the whole document at every change; must not raise for a passing fault of its own."""

    def __call__(self, status: StatusDocument) -> None: ...


def to_file(path: Path, *, guard: Callable[[], None] | None = None) -> Sink:
    """The run's own: replaces `path` atomically with the document's JSON, raises what the disk and `guard` raise."""

    def write(status: StatusDocument) -> None:
        durable_folder(path.parent)
        replace(path, status.to_json(), guard=guard)

    return write


class FileSink:
    """A file of the user's: refused when its first write fails, after that no fault of its disk ends a run.

    `told` hears of a fault once, until a write succeeds again; every change of the document tries anew.
    """

    def __init__(self, path: Path, *, told: Callable[[str], None] = lambda text: None) -> None:
        self._write = to_file(path)
        self._told = told
        self._usable = False
        self._complained = False

    def __call__(self, status: StatusDocument) -> None:
        try:
            self._write(status)
        except StorageError as error:
            if not self._usable:
                raise
            if not self._complained:
                self._complained = True
                log.warning("the status could not be told, the run goes on: %s", error)
                self._told(f"warning: the status could not be told, the run goes on: {error}")
        else:
            self._usable, self._complained = True, False
