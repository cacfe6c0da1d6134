"""Continuous batching: requests come and go, every step advances all that can advance.

One thread owns an engine; it does no I/O and reads no clock. The gateway steps it from its engine thread,
`Model.generate` from the caller's.
"""

# ruff: noqa: N803, N806 (tensors carry their shape in the name)
from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from modelyard.errors import InvalidInputError
from modelyard.infer.requests import FinishReason, Request, TokenEvent
from modelyard.infer.scheduler import Limits, SequenceView, StepPlan, plan_step

if TYPE_CHECKING:
    import torch

    from modelyard.infer.emission import ChoiceText
    from modelyard.infer.executor import Executor
    from modelyard.infer.requests import SamplingParams
    from modelyard.infer.sampling import TokenChances
    from modelyard.text import Tokenizer


class Runnable(Protocol):
    """What an engine needs of a model (infer's `Model` is one)."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def eos_ids(self) -> Container[int]: ...
    @property
    def batched(self) -> bool: ...
    @property
    def max_sequences(self) -> int: ...
    @property
    def max_batch_tokens(self) -> int: ...
    @property
    def max_length(self) -> int: ...
    @property
    def max_logit_tokens(self) -> int: ...
    def open_executor(self) -> Executor: ...
    def check(self, prompt: Sequence[int], params: SamplingParams) -> None: ...


@dataclass
class _Sequence:
    """One choice of one request on its way. `computed` tokens are in the cache; the rest of `tokens` is pending."""

    key: int
    request: Request
    choice: int
    tokens: list[int]
    text: ChoiceText
    generator: torch.Generator
    computed: int = 0
    prompt_chances: list[TokenChances | None] = field(default_factory=list)

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def wants_prompt_logits(self) -> bool:
        params = self.request.params
        return params.echo and params.logprobs is not None and self.computed < len(self.request.prompt)


class Engine:
    """Advances many requests together. Not thread-safe: one thread calls everything."""

    def __init__(self, model: Runnable) -> None:
        self._model = model
        self._executor = model.open_executor()
        # alone with its family's own cache, a prompt is fed whole: not every family continues a chunk
        budget = model.max_batch_tokens if model.batched else model.max_sequences * model.max_length
        self._limits = Limits(model.max_sequences, budget)
        self._running: dict[int, _Sequence] = {}
        self._waiting: deque[_Sequence] = deque()
        self._open_choices: dict[str, int] = {}  # by request id
        self._keys = itertools.count()

    @property
    def has_work(self) -> bool:
        return bool(self._running or self._waiting)

    @property
    def num_running(self) -> int:
        """Sequences that hold a cache row."""
        return len(self._running)

    @property
    def cache_tokens(self) -> int:
        """Tokens for which key-value memory is held."""
        return self._executor.cache_tokens

    def add(self, request: Request) -> None:
        """Queue a request; its first events come from a later `step`. Raises InvalidInputError (see Model.check)."""
        from modelyard.infer.emission import ChoiceText
        from modelyard.infer.sampling import open_generator

        self._model.check(request.prompt, request.params)
        if request.id in self._open_choices:
            raise InvalidInputError(f"a request with id {request.id} is already on its way")
        self._open_choices[request.id] = request.params.n
        seed = request.params.seed
        self._waiting.extend(
            _Sequence(
                key=next(self._keys),
                request=request,
                choice=choice,
                tokens=list(request.prompt),
                text=ChoiceText(self._model.tokenizer, request.params.stop, request.prompt),
                generator=open_generator(seed, choice),
            )
            for choice in range(request.params.n)
        )

    def cancel(self, request_id: str) -> None:
        """Drop a request and free its rows at once; it has no further events. Unknown ids are no fault."""
        if self._open_choices.pop(request_id, None) is None:
            return
        for sequence in [s for s in self._running.values() if s.request.id == request_id]:
            self._executor.release(sequence.key)
            del self._running[sequence.key]
        self._waiting = deque(s for s in self._waiting if s.request.id != request_id)

    def step(self) -> list[TokenEvent]:
        """Plan, run the tensors, sample, record. An idle engine returns no events."""
        plan = self._plan()
        if not plan.advances:
            return []
        ready = self._advance(plan)
        return list(self._record(ready))

    def _plan(self) -> StepPlan:
        first_waiting = itertools.islice(self._waiting, self._limits.max_sequences)
        return plan_step([self._view(s) for s in self._running.values()], [self._view(s) for s in first_waiting],
                         self._limits)  # fmt: skip

    def _view(self, sequence: _Sequence) -> SequenceView:
        bounded = sequence.wants_prompt_logits and self._model.batched
        chunk = self._model.max_logit_tokens if bounded else None
        return SequenceView(sequence.key, len(sequence.tokens) - sequence.computed, chunk)

    def _advance(self, plan: StepPlan) -> list[tuple[_Sequence, Any]]:
        """Feed what the plan says; (sequence, its last logits [1, V]) of those whose next token can be chosen."""
        from modelyard.infer.executor import Chunk

        for key in plan.admitted:
            sequence = self._waiting.popleft()
            assert sequence.key == key
            self._running[key] = sequence
        advancing = [(self._running[advance.key], advance.num_tokens) for advance in plan.advances]
        chunks = [
            Chunk(s.key, tuple(s.tokens[s.computed : s.computed + count]), s.computed, s.wants_prompt_logits)
            for s, count in advancing
        ]
        ready = []
        for (sequence, count), chunk, logits in zip(advancing, chunks, self._executor.forward(chunks), strict=True):
            if chunk.all_logits:
                self._keep_prompt_chances(sequence, chunk.start, logits)
            sequence.computed += count
            if sequence.computed == len(sequence.tokens):
                ready.append((sequence, logits[-1:]))
        return ready

    def _keep_prompt_chances(self, sequence: _Sequence, start: int, logits_TV: Any) -> None:
        """Logits at position p are about token p + 1; the prompt's very first token has none."""
        from modelyard.infer.sampling import chances

        if start == 0:
            sequence.prompt_chances.append(None)
        following = sequence.request.prompt[start + 1 : start + 1 + len(logits_TV)]
        if following:
            num_top = sequence.request.params.logprobs or 0
            sequence.prompt_chances.extend(chances(logits_TV[: len(following)], following, num_top))

    def _record(self, ready: list[tuple[_Sequence, Any]]) -> Iterator[TokenEvent]:
        """Choose the next tokens, and turn them into events."""
        import torch

        from modelyard.infer.sampling import chances, choose

        for sequence, _ in ready:
            if sequence.generated == 0 and sequence.request.params.max_tokens == 0:
                yield self._finish_unsampled(sequence)
        ready = [(sequence, logits) for sequence, logits in ready if sequence.request.params.max_tokens > 0]
        if not ready:
            return
        logits_NV = torch.cat([logits for _, logits in ready])
        params = [sequence.request.params for sequence, _ in ready]
        tokens = choose(logits_NV, params, [sequence.generator for sequence, _ in ready])
        asking = [row for row, param in enumerate(params) if param.logprobs is not None]
        found: dict[int, TokenChances] = {}
        if asking:
            num_top = max(params[row].logprobs or 0 for row in asking)
            answers = chances(logits_NV[asking], [tokens[row] for row in asking], num_top)
            found = dict(zip(asking, answers, strict=True))
        for row, (sequence, _) in enumerate(ready):
            yield self._event(sequence, tokens[row], found.get(row))

    def _finish_unsampled(self, sequence: _Sequence) -> TokenEvent:
        text, logprobs = self._echo(sequence)
        self._leave(sequence)
        return self._make_event(sequence, text, (), logprobs, "length")

    def _event(self, sequence: _Sequence, token: int, chance: TokenChances | None) -> TokenEvent:
        text, logprobs = self._echo(sequence) if sequence.generated == 0 else ("", ())
        sequence.tokens.append(token)
        params = sequence.request.params
        if chance is not None:
            chance = type(chance)(chance.logprob, chance.top[: params.logprobs])
        finish: FinishReason | None = None
        if token in self._model.eos_ids and not params.ignore_eos:
            finish = "stop"
        else:
            released = sequence.text.push(token, chance)
            text, logprobs = text + released.text, logprobs + released.logprobs
            finish = "stop" if released.stopped else "length" if sequence.generated == params.max_tokens else None
            if released.stopped:
                self._leave(sequence)
                return self._make_event(sequence, text, (token,), logprobs, finish)
        if finish is not None:
            released = sequence.text.finish()
            text, logprobs = text + released.text, logprobs + released.logprobs
            finish = "stop" if released.stopped else finish
            self._leave(sequence)
        return self._make_event(sequence, text, (token,), logprobs, finish)

    def _echo(self, sequence: _Sequence) -> tuple[str, tuple[Any, ...]]:
        request = sequence.request
        if not request.params.echo:
            return "", ()
        text = request.prompt_text
        if text is None:
            text = self._model.tokenizer.decode(request.prompt)
        wanted = request.params.logprobs is not None
        released = sequence.text.echo(text, request.prompt, sequence.prompt_chances if wanted else None)
        return released.text, released.logprobs

    def _leave(self, sequence: _Sequence) -> None:
        self._executor.release(sequence.key)
        del self._running[sequence.key]
        self._open_choices[sequence.request.id] -= 1
        if not self._open_choices[sequence.request.id]:
            del self._open_choices[sequence.request.id]

    def _make_event(
        self, sequence: _Sequence, text: str, tokens: tuple[int, ...], logprobs: tuple[Any, ...],
        finish: FinishReason | None,
    ) -> TokenEvent:  # fmt: skip
        request = sequence.request
        return TokenEvent(request.id, sequence.choice, text, tokens, logprobs, finish, len(request.prompt),
                          sequence.generated)  # fmt: skip
