"""What a server's refusal means to a caller: HTTP status and `Status` object to one of our errors. Pure."""

from __future__ import annotations

import json
from typing import Any

from modelyard_operator.cluster.api import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NoAnswerError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)

_BY_CODE: dict[int, type[ClusterError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    504: NoAnswerError,  # the server gave up waiting for itself: it may yet have acted
}


def refusal(code: int, body: bytes, retry_after: str, call: str) -> ClusterError:
    """The error of an answer of 400 and above. `retry_after` is the header's text, `call` what was asked."""
    status = _status(body)
    message = f"{call}: {status.get('message') or body[:500].decode(errors='replace')}"
    if code == 409 and status.get("reason") == "AlreadyExists":
        return AlreadyExistsError(message)
    if code == 429:
        return ThrottledError(message, _seconds(retry_after, status))
    if code in _BY_CODE:
        return _BY_CODE[code](message)
    return UnavailableError(message) if code >= 500 else InvalidError(message)


def _status(body: bytes) -> dict[str, Any]:
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _seconds(retry_after: str, status: dict[str, Any]) -> float:
    """The header's wish, else the object's, else a second; a date in the header is not something API servers send."""
    if retry_after.isdigit():
        return float(retry_after)
    return float((status.get("details") or {}).get("retryAfterSeconds") or 1)
