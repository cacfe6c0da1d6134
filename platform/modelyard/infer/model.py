"""A model folder, opened: generate, stream, score. What `modelyard.load` hands to a user.

All work is done by an Engine (continuous batching) and by scoring; this file checks and translates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelyard.errors import InvalidInputError
from modelyard.infer.engine import Engine
from modelyard.infer.requests import (
    Completion,
    Request,
    SamplingParams,
    ScoreItem,
    Scores,
    TokenEvent,
)
from modelyard.text import Tokenizer, open_tokenizer

if TYPE_CHECKING:
    from modelyard.infer.executor import Executor

Precision = Literal["fp32", "bf16", "fp16"]
GREEDY = SamplingParams()
UNBOUNDED_CONTEXT = 2048  # for families that name no longest position (alibi, recurrent): chosen by feel


@dataclass(frozen=True, eq=False)
class Model:
    """A causal language model that answers. Make one with `open_model`.

    `max_length` bounds prompt and completion together, in tokens. Threads may share `check` and `encode_prompt`;
    generation and scoring belong to one thread at a time.
    """

    folder: Path
    tokenizer: Tokenizer
    max_length: int
    max_sequences: int
    max_batch_tokens: int
    vocab_size: int
    eos_ids: frozenset[int]
    batched: bool
    module: Any = field(repr=False)

    def encode_prompt(self, text: str) -> list[int]:
        """Ids of a prompt as the beginning of a document: after bos, unless the tokenizer says `add_bos_token: false`.

        An empty text is [bos] always.
        """
        ids = self.tokenizer.encode(text)
        plain = self.tokenizer.config.get("add_bos_token") is False
        return ids if ids and plain else [self.tokenizer.bos_id, *ids]

    def check(self, prompt: Sequence[int], params: SamplingParams) -> None:
        """Raise InvalidInputError for a prompt that cannot be answered: empty, unknown ids, beyond the context."""
        if not prompt:
            raise InvalidInputError("the prompt is empty: give at least one token")
        wrong = next((token for token in prompt if not 0 <= token < self.vocab_size), None)
        if wrong is not None:
            raise InvalidInputError(f"token id {wrong} is unknown: the model's ids are 0 to {self.vocab_size - 1}")
        if len(prompt) + params.max_tokens > self.max_length:
            raise InvalidInputError(
                f"the prompt has {len(prompt)} tokens and max_tokens is {params.max_tokens}: together "
                f"{len(prompt) + params.max_tokens}, but the model's context holds {self.max_length}",
                hint="shorten the prompt or lower max_tokens",
            )

    def generate(
        self, prompts: str | Sequence[str | Sequence[int]], params: SamplingParams = GREEDY
    ) -> list[Completion]:
        """Continue prompts (text or token ids) together: `params.n` completions of each, in order of the prompts."""
        given = [prompts] if isinstance(prompts, str) else list(prompts)
        requests = [self._request(str(index), prompt, params) for index, prompt in enumerate(given)]
        parts: dict[tuple[str, int], list[TokenEvent]] = {}
        engine = Engine(self)
        for request in requests:
            engine.add(request)
        while engine.has_work:
            for event in engine.step():
                parts.setdefault((event.request_id, event.choice), []).append(event)
        return [_completion(request, parts[request.id, choice]) for request in requests for choice in range(params.n)]

    def stream(self, prompt: str | Sequence[int], params: SamplingParams = GREEDY) -> Iterator[TokenEvent]:
        """Continue one prompt, event by event. Closing the iterator stops the work."""
        engine = Engine(self)
        engine.add(self._request("0", prompt, params))
        while engine.has_work:
            yield from engine.step()

    def score(self, items: Sequence[ScoreItem], *, stride: int | None = None) -> list[Scores]:
        """Log-probabilities of each item's tokens from its `start` on, in padded batches.

        Texts beyond the context are read in windows that each score `stride` new tokens (default: half the
        context); every token is scored exactly once. Refused: a start of 0, which would have nothing before it, and a
        stride beyond the context.
        """
        from modelyard.infer.scoring import score

        for item in items:
            if item.start < 1:
                raise InvalidInputError(f"start is {item.start}: the first token has nothing before it; begin at 1")
        if stride is None:
            stride = max(1, self.max_length // 2)
        if not 1 <= stride <= self.max_length:
            raise InvalidInputError(f"stride is {stride}: a window scores 1 to {self.max_length} tokens, the context")
        return score(
            self.module,
            items,
            max_length=self.max_length,
            stride=stride,
            max_tokens=min(self.max_batch_tokens, self.max_logit_tokens),
        )

    @property
    def max_logit_tokens(self) -> int:
        """Positions whose logits are held at once, when scoring or echoing; more where the family gives no pieces."""
        from modelyard.infer.executor import MAX_LOGIT_ELEMENTS

        return max(1, MAX_LOGIT_ELEMENTS // self.vocab_size)

    def open_executor(self) -> Executor:
        """A fresh executor over the weights; engines call it."""
        from modelyard.infer.executor import LoneExecutor, SlotExecutor

        if not self.batched:
            return LoneExecutor(self.module)
        return SlotExecutor(self.module, max_rows=self.max_sequences, max_tokens=self.max_length)

    def _request(self, name: str, prompt: str | Sequence[int], params: SamplingParams) -> Request:
        if isinstance(prompt, str):
            return Request(name, tuple(self.encode_prompt(prompt)), params, prompt)
        return Request(name, tuple(prompt), params)


def _completion(request: Request, events: Sequence[TokenEvent]) -> Completion:
    last = events[-1]
    assert last.finish_reason is not None
    return Completion(
        prompt=request.prompt_text or "",
        choice=last.choice,
        text="".join(event.text for event in events),
        token_ids=tuple(token for event in events for token in event.token_ids),
        finish_reason=last.finish_reason,
        logprobs=tuple(logprob for event in events for logprob in event.logprobs),
        prompt_tokens=len(request.prompt),
    )


def open_model(
    folder: Path,
    *,
    precision: Precision = "fp32",
    device: str = "cpu",
    max_sequences: int = 16,
    max_sequence_length: int | None = None,
    max_batch_tokens: int = 4096,
) -> Model:
    """Load a Hugging Face folder (config, safetensors, tokenizer) for answering.

    `max_sequence_length` can only shorten the model's own context. Raises what `modelyard.model.load_folder` and
    `modelyard.text.open_tokenizer` raise, and InvalidInputError for limits that cannot work.
    """
    if max_sequences < 1 or max_batch_tokens < max_sequences:
        raise InvalidInputError(
            f"maxSequences is {max_sequences} and maxBatchTokens {max_batch_tokens}: a step must hold at least one "
            "token of every sequence",
            hint="raise maxBatchTokens to at least maxSequences",
        )
    from modelyard.infer.loading import load

    tokenizer = open_tokenizer(folder)
    loaded = load(folder, precision=precision, device=device)
    context = loaded.context or UNBOUNDED_CONTEXT
    if loaded.context and max_sequence_length and max_sequence_length > loaded.context:
        raise InvalidInputError(
            f"maxSequenceLength is {max_sequence_length}, but the model in {folder} reaches {loaded.context} positions"
        )
    return Model(
        folder=folder,
        tokenizer=tokenizer,
        max_length=max_sequence_length or context,
        max_sequences=max_sequences,
        max_batch_tokens=max_batch_tokens,
        vocab_size=loaded.vocab_size,
        eos_ids=loaded.eos_ids or frozenset({tokenizer.eos_id}),
        batched=loaded.batched,
        module=loaded.module,
    )
