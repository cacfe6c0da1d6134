"""What an API server may answer instead of what was asked for, sorted by what the caller should do.

KubeError               (a StorageError: the ConfigMap is where a status or an index is kept)
├── UnreachableError    ask again: no answer, overload, a server's own fault
├── AbsentError         the object is gone; whoever makes it (the operator) may make it again
├── ForbiddenError      the ServiceAccount may not; its Role is wrong or not yet there
└── RefusedError        the server does not take this request: asking again is no use

A write that met another one is modelyard.errors.ConflictError.
"""

from __future__ import annotations

from modelyard.errors import StorageError


class KubeError(StorageError):
    """The API server did not do what was asked."""


class UnreachableError(KubeError):
    """No answer, or one that says to try later; `retry_after_seconds` is the server's wish, 0 without one."""

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class AbsentError(KubeError):
    """No such object (404)."""


class ForbiddenError(KubeError):
    """Not allowed, or not known (403, 401)."""

    retryable = False


class RefusedError(KubeError):
    """The server does not take the request (400, 413, 422)."""

    retryable = False
