"""What goes into the engine and what comes out: plain frozen values, no tensors.

Called by everyone above: the gateway fills a Request, the engine answers in TokenEvents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelyard.errors import InvalidInputError

FinishReason = Literal["stop", "length", "cancelled"]

MAX_LOGPROBS = 5  # OpenAI's bound for completions
MAX_CHOICES = 128  # OpenAI's bound for n
MAX_STOPS = 16  # OpenAI allows 4; harnesses send more


@dataclass(frozen=True)
class SamplingParams:
    """How one request is sampled. Temperature 0 is greedy; `top_k` 0 and `top_p` 1 mean no cut.

    Choice i of n draws from a stream of its own, a function of (seed, i) alone; seed None is fresh chance.
    `logprobs` k gives the chosen token's natural log-probability and the k best, of the untempered distribution.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    echo: bool = False
    n: int = 1
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 0, "max_tokens", self.max_tokens, "0 or more")
        _require(math.isfinite(self.temperature) and 0 <= self.temperature <= 100, "temperature", self.temperature,
                 "between 0 and 100")  # fmt: skip
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 (all) or more")
        _require(len(self.stop) <= MAX_STOPS, "stop", f"{len(self.stop)} strings", f"at most {MAX_STOPS}")
        _require(all(self.stop), "stop", "an empty string", "non-empty strings")
        _require(self.logprobs is None or 0 <= self.logprobs <= MAX_LOGPROBS, "logprobs", self.logprobs,
                 f"between 0 and {MAX_LOGPROBS}")  # fmt: skip
        _require(1 <= self.n <= MAX_CHOICES, "n", self.n, f"between 1 and {MAX_CHOICES}")


def _require(holds: bool, field: str, value: object, allowed: str) -> None:
    if not holds:
        raise InvalidInputError(f"{field} is {value}; it must be {allowed}")


@dataclass(frozen=True)
class Request:
    """Token ids to continue, fed verbatim. `prompt_text` is what echo prints (None: decoded from the ids)."""

    id: str
    prompt: tuple[int, ...]
    params: SamplingParams = SamplingParams()
    prompt_text: str | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """One token's natural log-probability; `top` holds (id, token, logprob), best first.

    `logprob` is None only for the very first token of an echoed prompt. `token` is the token alone; bytes that
    are no whole character read `bytes:\\xe2\\x80`, as OpenAI writes them. `text_offset` counts characters.
    """

    token_id: int
    token: str
    logprob: float | None
    top: tuple[tuple[int, str, float], ...]
    text_offset: int


@dataclass(frozen=True)
class TokenEvent:
    """What one step added to one choice. The last event of a choice carries its `finish_reason`.

    `text` holds whole characters only and may lag behind `token_ids`: text that could be the start of a stop
    string is held back, and so are its tokens' `logprobs`.
    """

    request_id: str
    choice: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    finish_reason: FinishReason | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Completion:
    """One finished continuation. `text` is cut before a stop string; `token_ids` are all that were generated."""

    prompt: str
    choice: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...]
    prompt_tokens: int


@dataclass(frozen=True)
class ScoreItem:
    """Tokens to score: those from `start` on, each given all before it (as far as the context reaches)."""

    tokens: tuple[int, ...]
    start: int = 1


@dataclass(frozen=True)
class Scores:
    """Natural log-probabilities of an item's tokens from `start` on, and whether each was the model's first choice."""

    logprobs: npt.NDArray[np.float64]
    greedy: npt.NDArray[np.bool_]
