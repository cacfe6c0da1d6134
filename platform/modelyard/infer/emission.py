"""From tokens to what the user may see: whole characters, nothing of a stop string, offsets that add up.

One ChoiceText a choice, pure Python. The engine pushes tokens; what it gets back goes into a TokenEvent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.infer.requests import TokenLogprob
from modelyard.infer.sampling import TokenChances
from modelyard.text import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Released:
    """Text and log-probabilities that may go out now; `stopped` when a stop string was met."""

    text: str
    logprobs: tuple[TokenLogprob, ...]
    stopped: bool = False


class ChoiceText:
    """Decodes one choice's tokens as they go on from `prompt`; holds back what may become part of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._decoder = StreamDecoder(tokenizer, after=prompt)
        self._stop = tuple(stop)
        self._held = ""
        self._released = 0  # characters
        self._logprobs: list[TokenLogprob] = []

    def echo(self, text: str, tokens: Sequence[int], chances: Sequence[TokenChances | None] | None) -> Released:
        """The prompt, which no stop string cuts; `chances` of each token (None for the first) when asked for."""
        self._released = len(text)
        if chances is None:
            return Released(text, ())
        decoder, offset, entries = StreamDecoder(self._tokenizer), 0, []
        for token, chance in zip(tokens, chances, strict=True):
            entries.append(self._entry(token, chance, min(offset, len(text))))
            offset += len(decoder.push(token))
        return Released(text, tuple(entries))

    def push(self, token: int, chances: TokenChances | None) -> Released:
        """Add a generated token; `chances` when log-probabilities are asked for."""
        if chances is not None:
            self._logprobs.append(self._entry(token, chances, self._released + len(self._held)))
        return self._release(self._decoder.push(token))

    def finish(self) -> Released:
        """No more tokens: what was held back goes out (a broken character as U+FFFD)."""
        released = self._release(self._decoder.flush())
        if released.stopped:
            return released
        text, self._held = self._held, ""
        return Released(released.text + text, (*released.logprobs, *self._take_logprobs(len(text))))

    def _release(self, text: str) -> Released:
        self._held += text
        cut = min((at for at in (self._held.find(stop) for stop in self._stop) if at >= 0), default=-1)
        if cut >= 0:
            text, self._held = self._held[:cut], ""
            logprobs = self._take_logprobs(len(text), whole=False)
            self._logprobs.clear()
            return Released(text, logprobs, stopped=True)
        keep = held_back(self._held, self._stop)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return Released(text, self._take_logprobs(len(text), whole=keep == 0))

    def _take_logprobs(self, characters: int, *, whole: bool = True) -> tuple[TokenLogprob, ...]:
        """Advance by released characters; entries that begin before the new end (all of them when `whole`)."""
        self._released += characters
        count = sum(whole or entry.text_offset < self._released for entry in self._logprobs)
        taken, self._logprobs = tuple(self._logprobs[:count]), self._logprobs[count:]
        return taken

    def _entry(self, token: int, chances: TokenChances | None, offset: int) -> TokenLogprob:
        top = () if chances is None else chances.top
        return TokenLogprob(
            token_id=token,
            token=token_text(self._tokenizer, token),
            logprob=None if chances is None else chances.logprob,
            top=tuple((other, token_text(self._tokenizer, other), logprob) for other, logprob in top),
            text_offset=offset,
        )


def held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of `text` are the beginning of some stop string."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    return next(
        (size for size in range(min(longest, len(text)), 0, -1) if any(s.startswith(text[-size:]) for s in stops)), 0
    )


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """One token alone, as OpenAI writes it: bytes that are no whole character as `bytes:\\xe2\\x80`."""
    raw = tokenizer.token_bytes(token)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
