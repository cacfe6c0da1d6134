"""What an answer of 400 and above means."""

from __future__ import annotations

import json

import pytest

from modelyard_operator.cluster import api
from modelyard_operator.cluster.refusals import refusal

TABLE = [
    (400, "BadRequest", api.InvalidError),
    (401, "Unauthorized", api.ForbiddenError),
    (403, "Forbidden", api.ForbiddenError),
    (404, "NotFound", api.NotFoundError),
    (405, "MethodNotAllowed", api.InvalidError),
    (409, "AlreadyExists", api.AlreadyExistsError),
    (409, "Conflict", api.ConflictError),
    (410, "Expired", api.GoneError),
    (415, "UnsupportedMediaType", api.InvalidError),
    (422, "Invalid", api.InvalidError),
    (429, "TooManyRequests", api.ThrottledError),
    (500, "InternalError", api.UnavailableError),
    (503, "ServiceUnavailable", api.UnavailableError),
    (504, "Timeout", api.NoAnswerError),
]


@pytest.mark.parametrize(("code", "reason", "error"), TABLE)
def test_each_code_has_its_error_and_keeps_the_servers_words(
    code: int, reason: str, error: type[api.ClusterError]
) -> None:
    status = {"kind": "Status", "code": code, "reason": reason, "message": "because"}
    found = refusal(code, json.dumps(status).encode(), "", "get pods")
    assert type(found) is error
    assert str(found) == "get pods: because"


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[1]", b"\xff\xfe"])
def test_a_body_that_is_no_status_is_shown_as_it_is(body: bytes) -> None:
    found = refusal(502, body, "", "get pods")
    assert type(found) is api.UnavailableError
    assert str(found) == f"get pods: {body.decode(errors='replace')}"


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [("7", None, 7), ("", {"retryAfterSeconds": 5}, 5), ("", None, 1), ("Wed, 21 Oct 2026 07:28:00 GMT", None, 1)],
)
def test_how_long_to_wait_is_the_servers_wish(header: str, details: object, seconds: float) -> None:
    found = refusal(429, json.dumps({"message": "slow", "details": details}).encode(), header, "list")
    assert isinstance(found, api.ThrottledError)
    assert found.retry_after_seconds == seconds
