"""OpenAI's response bodies, whole and as stream chunks, made from the engine's events. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelyard.infer import TokenEvent, TokenLogprob


@dataclass(frozen=True)
class Head:
    """What every body of one request repeats."""

    id: str
    created: int
    model: str
    fingerprint: str


@dataclass
class ChoiceState:
    """One choice as it grows."""

    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def take(self, event: TokenEvent) -> None:
        self.text.append(event.text)
        self.logprobs.extend(event.logprobs)
        self.finish_reason = event.finish_reason
        self.prompt_tokens = event.prompt_tokens
        self.completion_tokens = event.completion_tokens


def usage(choices: Sequence[ChoiceState], *, num_choices_per_prompt: int) -> dict[str, int]:
    """A prompt counts once, however many choices it has."""
    prompt = sum(choice.prompt_tokens for choice in choices[::num_choices_per_prompt])
    completion = sum(choice.completion_tokens for choice in choices)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class Shape(Protocol):
    """How one endpoint words its bodies."""

    @property
    def id_prefix(self) -> str: ...

    def whole(self, head: Head, choices: Sequence[ChoiceState], total: dict[str, int]) -> dict[str, Any]: ...

    def opening(self, head: Head, num_choices: int) -> list[dict[str, Any]]:
        """Chunks before the first token."""
        ...

    def chunk(self, head: Head, index: int, event: TokenEvent) -> dict[str, Any]: ...

    def closing(self, head: Head, total: dict[str, int]) -> dict[str, Any]:
        """The chunk without choices that carries the usage."""
        ...


@dataclass(frozen=True)
class CompletionShape:
    """/v1/completions."""

    with_logprobs: bool
    id_prefix: str = "cmpl"

    def whole(self, head: Head, choices: Sequence[ChoiceState], total: dict[str, int]) -> dict[str, Any]:
        listed = [
            self._choice(index, "".join(choice.text), choice.logprobs, choice.finish_reason)
            for index, choice in enumerate(choices)
        ]
        return {**self._frame(head), "choices": listed, "usage": total}

    def opening(self, head: Head, num_choices: int) -> list[dict[str, Any]]:
        return []

    def chunk(self, head: Head, index: int, event: TokenEvent) -> dict[str, Any]:
        return {**self._frame(head), "choices": [self._choice(index, event.text, event.logprobs, event.finish_reason)]}

    def closing(self, head: Head, total: dict[str, int]) -> dict[str, Any]:
        return {**self._frame(head), "choices": [], "usage": total}

    def _frame(self, head: Head) -> dict[str, Any]:
        return _frame(head, "text_completion")

    def _choice(
        self, index: int, text: str, logprobs: Sequence[TokenLogprob], finish_reason: str | None
    ) -> dict[str, Any]:
        told = legacy_logprobs(logprobs) if self.with_logprobs else None
        return {"index": index, "text": text, "logprobs": told, "finish_reason": finish_reason}


@dataclass(frozen=True)
class ChatShape:
    """/v1/chat/completions."""

    with_logprobs: bool
    id_prefix: str = "chatcmpl"

    def whole(self, head: Head, choices: Sequence[ChoiceState], total: dict[str, int]) -> dict[str, Any]:
        listed = [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(choice.text), "refusal": None},
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        return {**_frame(head, "chat.completion"), "choices": listed, "usage": total}

    def opening(self, head: Head, num_choices: int) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(head, index, delta, None, None) for index in range(num_choices)]

    def chunk(self, head: Head, index: int, event: TokenEvent) -> dict[str, Any]:
        delta = {"content": event.text} if event.text else {}
        return self._chunk(head, index, delta, self._logprobs(event.logprobs), event.finish_reason)

    def closing(self, head: Head, total: dict[str, int]) -> dict[str, Any]:
        return {**_frame(head, "chat.completion.chunk"), "choices": [], "usage": total}

    def _chunk(
        self, head: Head, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish: str | None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**_frame(head, "chat.completion.chunk"), "choices": [choice]}

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        return {"content": chat_logprobs(logprobs), "refusal": None} if self.with_logprobs else None


def legacy_logprobs(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The four parallel lists of /v1/completions.

    `top_logprobs` maps token text to its log-probability and holds the chosen token too, as OpenAI's does; of two
    tokens with the same text (both part of a character) the likelier stands.
    """
    return {
        "tokens": [one.token for one in logprobs],
        "token_logprobs": [one.logprob for one in logprobs],
        "top_logprobs": [_top(one) for one in logprobs] if any(one.top for one in logprobs) else None,
        "text_offset": [one.text_offset for one in logprobs],
    }


def _top(one: TokenLogprob) -> dict[str, float] | None:
    if one.logprob is None:
        return None
    ranked = sorted([(token, value) for _, token, value in one.top] + [(one.token, one.logprob)], key=lambda kv: kv[1])
    return dict(sorted(dict(ranked).items(), key=lambda kv: -kv[1]))


def chat_logprobs(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """One object a token, with its UTF-8 bytes and the likeliest tokens."""
    return [
        {
            **_chat_token(one.token, one.logprob),
            "top_logprobs": [_chat_token(token, logprob) for _, token, logprob in one.top],
        }
        for one in logprobs
    ]


def _chat_token(token: str, logprob: float | None) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token_bytes(token))}


def token_bytes(token: str) -> bytes:
    """A token's bytes; a token that is no whole character is written `bytes:\\xe2\\x80` (OpenAI's way)."""
    if token.startswith("bytes:\\x"):
        return bytes(int(part, 16) for part in token.removeprefix("bytes:\\x").split("\\x"))
    return token.encode()


def _frame(head: Head, kind: str) -> dict[str, Any]:
    return {
        "id": head.id,
        "object": kind,
        "created": head.created,
        "model": head.model,
        "system_fingerprint": head.fingerprint,
    }
