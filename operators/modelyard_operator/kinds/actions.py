"""What a plan may ask for. Values only: they can be printed, compared and replayed; `cluster` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelyard_operator.kinds.objects import Json, ObjectKey


@dataclass(frozen=True)
class Create:
    """Create an object; its name is a function of the parent, so doing it twice makes one."""

    item: Json


@dataclass(frozen=True)
class Patch:
    """Merge-patch an object, if it still is the one that was observed (uid and resourceVersion).

    `subresource` is `status` to write a status. In a merge patch null removes a key and a list is replaced whole.
    """

    key: ObjectKey
    body: Json
    uid: str
    resource_version: str
    subresource: Literal["", "status"] = ""


@dataclass(frozen=True)
class Delete:
    """Delete an object (its own children go in the background), if it still is the one that was observed."""

    key: ObjectKey
    uid: str


@dataclass(frozen=True)
class Emit:
    """Tell an Event about the parent. Emitting the same again (after a crash) is one Event."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Requeue:
    """Look again after so many seconds: the clock decides something then. It writes nothing."""

    after_seconds: float


Action = Create | Patch | Delete | Emit | Requeue
