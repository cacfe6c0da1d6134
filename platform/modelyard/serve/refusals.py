"""What the gateway answers when it cannot do what was asked, in OpenAI's words and shape.

A RefusedError is raised anywhere on a request's way and rendered in one place (`gateway.py`).
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from modelyard.errors import InvalidInputError, ModelyardError

# OpenAI's clients read `type` and `status`; a person reads `message`.
_TYPES = {
    400: "invalid_request_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}


class RefusedError(ModelyardError):
    """An HTTP answer that is an error: status, the field at fault, a code for programs, seconds to wait."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_seconds is None else {"retry-after": str(self.retry_after_seconds)}

    def body(self) -> dict[str, Any]:
        """`{"error": {message, type, param, code}}`."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> RefusedError:
    """The request itself is wrong: 400."""
    return RefusedError(400, message, param=param, code=code)


def from_validation(error: ValidationError) -> RefusedError:
    """pydantic's findings as one 400 that names every field at fault (OpenAI's `param` names the first)."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [(_place(fault["loc"]), _words(fault)) for fault in faults[:8]]
    message = "; ".join(f"{place}: {words}" if place else words for place, words in told)
    return invalid(message, param=told[0][0] or None)


def from_input_error(error: InvalidInputError, *, param: str | None = None) -> RefusedError:
    """What the engine refuses about a prompt or its options: 400."""
    too_long = "context" in str(error)
    return invalid(
        str(error) + (f" ({error.hint})" if error.hint else ""),
        param=param,
        code="context_length_exceeded" if too_long else None,
    )


def _words(fault: ErrorDetails) -> str:
    if fault["type"] == "model_type":  # its own words name our classes
        return "Input should be an object"
    return fault["msg"].removeprefix("Value error, ")


def _place(location: tuple[int | str, ...]) -> str:
    words = ""
    for part in location:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else part
    return words
