"""The door to an API server: one small protocol, answered by `rest` (a real server) and `memory` (the twin)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from modelyard_operator.kinds.objects import Json, ObjectKey, Resource


class ClusterError(Exception):
    """The server refused or did not answer. `code` is the HTTP status, 0 when there was none."""

    code = 0


class NotFoundError(ClusterError):
    """No such object (404)."""

    code = 404


class AlreadyExistsError(ClusterError):
    """An object of that name stands there (409 AlreadyExists)."""

    code = 409


class ConflictError(ClusterError):
    """The object is not the one that was observed any more (409 Conflict)."""

    code = 409


class GoneError(ClusterError):
    """The resourceVersion of a list or watch is too old (410): list again."""

    code = 410


class InvalidError(ClusterError):
    """The server's schema or admission refuses the object (400, 422)."""

    code = 422


class ForbiddenError(ClusterError):
    """Not allowed (401, 403)."""

    code = 403


class ThrottledError(ClusterError):
    """Too many requests (429); `retry_after_seconds` is the server's wish."""

    code = 429

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(ClusterError):
    """The server failed (5xx)."""

    code = 500


class NoAnswerError(ClusterError):
    """No answer in time, or the connection broke: the server may have acted or not."""


@dataclass(frozen=True)
class Page:
    """A part of a list; `more` is the token for the next part, empty at the end."""

    items: tuple[Json, ...]
    resource_version: str
    more: str = ""


@dataclass(frozen=True)
class WatchEvent:
    """A change; a BOOKMARK's object has only a resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    item: Json


class Writer(Protocol):
    """The half of a cluster that carries out a plan. Every method may raise any ClusterError."""

    async def get(self, key: ObjectKey) -> Json:
        """One object; NotFoundError."""

    async def create(self, item: Json) -> Json:
        """Create an object; AlreadyExistsError."""

    async def patch(
        self, key: ObjectKey, body: Json, *, uid: str = "", resource_version: str = "", subresource: str = ""
    ) -> Json:
        """Merge-patch; with uid or resourceVersion only that very object: ConflictError otherwise."""

    async def delete(self, key: ObjectKey, *, uid: str = "") -> None:
        """Delete, children in the background; with a uid only that very object. NotFoundError, ConflictError."""


class Cluster(Writer, Protocol):
    """Reads and writes objects as plain JSON."""

    async def list(
        self, resource: Resource, *, namespace: str = "", labels: str = "", limit: int = 500, more: str = ""
    ) -> Page:
        """Objects of a kind, in one namespace or in all."""

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncIterator[WatchEvent]:
        """Changes after a resourceVersion; ends by itself after the time-out. GoneError: list again."""

    async def served(self) -> frozenset[Resource]:
        """Which of the kinds we deal with the server knows."""
