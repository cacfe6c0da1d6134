"""OpenAI's request bodies for /v1/completions and /v1/chat/completions, checked and bounded.

A field that would change the answer and is not built is refused in words unless it has its neutral value; bookkeeping
fields of OpenAI's platform are ignored; an unknown field is refused with the nearest name.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import from_json

from modelyard.infer import SamplingParams
from modelyard.serve.refusals import RefusedError, from_validation, invalid

MAX_BODY_BYTES = 8 * 1024 * 1024  # a million token ids as text
MAX_CONTAINERS = 1 << 16  # lists and objects in a body: while millions are made, which takes seconds, all else waits
MAX_CHOICES = 256  # prompts x n of one request
MAX_LOGPROBS = 5  # OpenAI's bound for completions, and what the engine keeps
MAX_MESSAGES = 1024
_LONGEST_NAME = 64  # characters of an unknown field that are told, and that a near name is looked for

# Accepted and ignored: they steer OpenAI's platform (billing, caching, abuse, storage), not the answer.
_IGNORED = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "parallel_tool_calls",
    }
)
# Refused unless neutral: field -> (values that mean "not used", what to do instead).
_NEUTRAL: dict[str, tuple[tuple[object, ...], str]] = {
    "presence_penalty": ((0,), "penalties are not built; leave it out or set 0"),
    "frequency_penalty": ((0,), "penalties are not built; leave it out or set 0"),
    "repetition_penalty": ((1,), "penalties are not built; leave it out or set 1"),
    "logit_bias": (({},), "biases are not built; leave it out"),
    "suffix": (("",), "insertion is not built; put everything into `prompt`"),
    "tools": (([],), "tool calls are not built; leave it out"),
    "tool_choice": (("none", "auto"), "tool calls are not built; leave it out"),
    "functions": (([],), "function calls are not built; leave it out"),
    "function_call": (("none", "auto"), "function calls are not built; leave it out"),
    "response_format": (({"type": "text"},), "constrained output is not built; leave it out"),
    "modalities": ((["text"],), "answers are text"),
    "audio": ((), "answers are text"),
    "prediction": ((), "predicted outputs are not built; leave it out"),
    "reasoning_effort": (("none",), "reasoning is not separated from the answer; leave it out"),
    "verbosity": ((), "not built; leave it out"),
    "web_search_options": ((), "not built; leave it out"),
    "min_p": ((0,), "use top_p or top_k"),
    "min_tokens": ((0,), "use ignore_eos with max_tokens"),
}


def _as_prompts(value: object) -> list[str | list[int]]:
    """One prompt or many, as text or token ids: always a list of prompts.

    Nothing is looked at in a list of more prompts than are answered: a body of a few MB may name millions.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise ValueError("a string, a list of strings, a list of token ids, or a list of lists of token ids; not empty")
    if len(value) > MAX_CHOICES and not _is_id(value[0]):
        raise ValueError(f"{len(value)} prompts are more than {MAX_CHOICES} choices in one request")
    if all(isinstance(item, str) for item in value):
        return list(value)
    if all(_is_id(item) for item in value):
        return [list(value)]
    if all(isinstance(item, list) and item and all(_is_id(i) for i in item) for item in value):
        return [list(item) for item in value]
    raise ValueError("mixes kinds or holds an empty list: give only strings, only token ids or only lists of ids")


def _is_id(value: object) -> bool:
    return type(value) is int


def _as_stops(value: object) -> object:
    if value is None:
        return []
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(item, str) and item for item in stops) or len(stops) > 4:
        raise ValueError("a string that is not empty, or a list of at most 4 such strings")
    if any(len(item) > 1024 for item in stops):
        raise ValueError("a stop string is longer than 1024 characters")
    return stops


def _as_text(value: object) -> object:
    """A message's content: a string, or text parts joined; None (an assistant turn without words) is empty."""
    if value is None:
        return ""
    if not isinstance(value, list):
        return value
    texts = [part["text"] for part in value if _is_text_part(part)]
    if len(texts) < len(value):
        raise ValueError("only text parts ({type: text, text: …}) are built")
    return "".join(texts)


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)


class StreamOptions(_Body):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # OpenAI's padding against traffic analysis: harmless, not done


class _Generation(_Body):
    """The fields that both endpoints share."""

    model: str = Field(max_length=256)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)  # vLLM's extension; 0 and -1 mean all
    n: int | None = Field(default=None, ge=1, le=128)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: Annotated[list[str], BeforeValidator(_as_stops)] = []
    ignore_eos: bool | None = None  # vLLM's extension

    @property
    def wants_usage_chunk(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionBody(_Generation):
    """POST /v1/completions."""

    prompt: Annotated[list[str | list[int]], PlainValidator(_as_prompts)]
    best_of: int | None = Field(default=None, ge=1)
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)

    def sampling(self, *, room: int) -> SamplingParams:
        """The engine's options; `room` is what the context leaves after the prompt."""
        return _sampling(
            self,
            max_tokens=min(16, room) if self.max_tokens is None else self.max_tokens,  # 16: OpenAI's default
            logprobs=self.logprobs,
            echo=bool(self.echo),
        )


class Message(_Body):
    """One turn of a conversation; `content` parts are joined."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(_as_text)]
    name: str | None = None


class ChatBody(_Generation):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)

    def sampling(self, *, room: int) -> SamplingParams:
        """The engine's options; without a limit a chat answer may fill the context, as OpenAI's does."""
        limit = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        return _sampling(
            self,
            max_tokens=room if limit is None else limit,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            echo=False,
        )


T = TypeVar("T", bound=_Generation)


def parse_completion(body: bytes) -> CompletionBody:
    """A checked completion request. RefusedError (400) otherwise."""
    request = _parse(CompletionBody, body)
    num_choices = request.n or 1
    if request.best_of is not None and request.best_of != num_choices:
        raise invalid("best_of: only best_of = n is built; leave it out", param="best_of")
    if len(request.prompt) * num_choices > MAX_CHOICES:
        asked = f"{len(request.prompt)} prompts x n = {num_choices}"
        raise invalid(f"prompt: {asked} is more than {MAX_CHOICES} choices in one request", param="prompt")
    return request


def parse_chat(body: bytes) -> ChatBody:
    """A checked chat request. RefusedError (400) otherwise."""
    request = _parse(ChatBody, body)
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("top_logprobs needs logprobs: true", param="top_logprobs")
    for place, message in enumerate(request.messages):
        extra = [name for name, value in (message.model_extra or {}).items() if value not in (None, [], {})]
        if extra:
            field = f"messages[{place}].{extra[0][:_LONGEST_NAME]}"
            raise invalid(f"{field}: not built; a message has role, content and name", param=field)
    return request


def _parse(kind: type[T], body: bytes) -> T:
    try:
        request = kind.model_validate(_read_json(body))
    except ValidationError as error:
        raise from_validation(error) from error
    for field, value in (request.model_extra or {}).items():
        refusal = _judge_extra(kind, field, value)
        if refusal is not None:
            raise refusal
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options: only with stream: true", param="stream_options")
    return request


def _read_json(body: bytes) -> object:
    if _num_containers(body) > MAX_CONTAINERS:
        raise invalid(f"the body has more than {MAX_CONTAINERS} lists and objects")
    # Apart from the checks: `model_validate_json` copies a value for each validator, and once more for its fault.
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid(f"the body is not JSON: {error}", code="invalid_json") from error


def _num_containers(body: bytes) -> int:
    """Lists and objects in a JSON text; when it has few brackets, also those in its strings."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= MAX_CONTAINERS:
        return brackets
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(unescaped.split(b'"')[::2])
    return outside.count(b"[") + outside.count(b"{")


def _judge_extra(kind: type[_Generation], field: str, value: object) -> RefusedError | None:
    """A field beyond those we read: None when it changes nothing."""
    if field in _IGNORED or value is None:
        return None
    if field in _NEUTRAL:
        neutral, words = _NEUTRAL[field]
        fine = any(value == unused and type(value) is not bool for unused in neutral)
        return None if fine else invalid(f"{field}: {words}", param=field)
    known = [*kind.model_fields, *_NEUTRAL, *_IGNORED]
    # difflib takes a second for a name of a few MB
    near = difflib.get_close_matches(field, known, n=1) if len(field) <= _LONGEST_NAME else []
    advice = f"; did you mean {near[0]}?" if near else ""
    told = field[:_LONGEST_NAME]
    return invalid(f"{told}: unknown field{advice}", param=told, code="unknown_parameter")


def _sampling(body: _Generation, *, max_tokens: int, logprobs: int | None, echo: bool) -> SamplingParams:
    temperature = 1.0 if body.temperature is None else body.temperature
    top_p = 1.0 if body.top_p is None else body.top_p
    return SamplingParams(
        max_tokens=max_tokens,
        temperature=0.0 if top_p == 0 else temperature,  # OpenAI allows top_p 0: the most likely token alone
        top_p=top_p or 1.0,
        top_k=max(body.top_k or 0, 0),
        seed=None if body.seed is None else body.seed % 2**63,
        stop=tuple(body.stop),
        logprobs=logprobs,
        echo=echo,
        n=body.n or 1,
        ignore_eos=bool(body.ignore_eos),
    )
