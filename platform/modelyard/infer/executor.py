"""Tensors of a step: chunks of tokens in, logits out. Two of them, behind one protocol.

`SlotExecutor` keeps all sequences in one SlotCache and advances every decoding one in a single batched forward; it
serves every family that builds its masks through transformers' interface. `LoneExecutor` gives each sequence the
family's own cache and runs them one by one: slower, right for any causal LM (alibi, recurrent, soft-capped).
Neither knows requests or sampling; the engine calls them.
"""

# ruff: noqa: N806 (tensors carry their shape in the name)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol

import torch

from modelyard.infer.cache import SlotCache, Span

MAX_LOGIT_ELEMENTS = 1 << 25  # 128 MiB of fp32 logits at most for one chunk whose logits are all wanted


@dataclass(frozen=True)
class Chunk:
    """The next tokens of a sequence, from position `start`; logits of the last one only, or of `all_logits`."""

    key: int
    tokens: tuple[int, ...]
    start: int
    all_logits: bool = False


class Executor(Protocol):
    """What the engine needs of a model."""

    def forward(self, chunks: Sequence[Chunk]) -> list[torch.Tensor]:
        """Feed the chunks; fp32 logits [1 or len(tokens), V] of each, in order. Unknown keys get a cache row."""
        ...

    def release(self, key: int) -> None:
        """Forget a sequence and free its memory; unknown keys are no fault."""
        ...

    @property
    def cache_tokens(self) -> int:
        """Tokens for which cache memory is held."""
        ...


class SlotExecutor:
    """All sequences in one cache; one forward for those that decode, one for each group of similar prompts."""

    def __init__(self, module: Any, *, max_rows: int, max_tokens: int) -> None:
        self._module = module
        self._device = next(module.parameters()).device
        self._cache = SlotCache(max_rows=max_rows, max_tokens=max_tokens)
        self._row_of: dict[int, int] = {}
        self._length_of: dict[int, int] = {}

    @property
    def cache_tokens(self) -> int:
        return self._cache.allocated_tokens

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> list[torch.Tensor]:
        logits: dict[int, torch.Tensor] = {}
        decoding = {chunk.key: chunk for chunk in chunks if len(chunk.tokens) == 1 and chunk.key in self._row_of}
        if decoding:
            logits.update(self._decode(decoding))
        for group in group_prompts([chunk for chunk in chunks if chunk.key not in decoding]):
            logits.update(self._prefill(group))
        for chunk in chunks:
            self._length_of[chunk.key] = chunk.start + len(chunk.tokens)
        return [logits[chunk.key] for chunk in chunks]

    @torch.inference_mode()
    def release(self, key: int) -> None:
        row = self._row_of.pop(key, None)
        if row is None:
            return
        self._length_of.pop(key, None)
        last = self._cache.num_rows - 1
        moving = next((other for other, at in self._row_of.items() if at == last), None)
        self._cache.drop_row(row, last_length=self._length_of[moving] if moving is not None else 0)
        if moving is not None:
            self._row_of[moving] = row

    def _decode(self, chunks: dict[int, Chunk]) -> dict[int, torch.Tensor]:
        # Every row in use takes part. One that is still fed its prompt computes a dummy token at its next
        # position, which its next chunk overwrites.
        by_row = sorted(self._row_of.items(), key=lambda item: item[1])
        tokens = [chunks[key].tokens[0] if key in chunks else 0 for key, _ in by_row]
        spans = [Span(row, self._length_of[key], 1) for key, row in by_row]
        logits_B1V = self._run([[token] for token in tokens], spans, decoding=True)
        return {key: logits_B1V[row] for key, row in by_row if key in chunks}

    def _prefill(self, group: Sequence[Chunk]) -> dict[int, torch.Tensor]:
        for chunk in group:
            if chunk.key not in self._row_of:
                self._row_of[chunk.key] = self._cache.take_row()
        width = max(len(chunk.tokens) for chunk in group)
        spans = [Span(self._row_of[chunk.key], chunk.start, len(chunk.tokens)) for chunk in group]
        padded = [[*chunk.tokens, *[0] * (width - len(chunk.tokens))] for chunk in group]
        if group[0].all_logits:  # such a chunk is a group of its own
            return {group[0].key: self._run(padded, spans, decoding=False, keep=0)[0]}
        last = torch.tensor([[span.length - 1] for span in spans], device=self._device)
        logits_B1V = self._run(padded, spans, decoding=False, keep=last)
        return {chunk.key: logits_B1V[index] for index, chunk in enumerate(group)}

    def _run(
        self, tokens: list[list[int]], spans: list[Span], *, decoding: bool, keep: int | torch.Tensor = 0
    ) -> torch.Tensor:
        """One forward; fp32 logits [B, kept positions, V]."""
        self._cache.begin(spans, decoding=decoding, device=self._device)
        tokens_BT = torch.tensor(tokens, device=self._device)
        starts = torch.tensor([[span.start] for span in spans], device=self._device)
        positions_BT = starts + torch.arange(tokens_BT.shape[1], device=self._device)
        # the padding of a short row must not ask for positions that the model lacks
        positions_BT = positions_BT.clamp(max=self._cache.max_tokens - 1)
        output = self._module(
            input_ids=tokens_BT, position_ids=positions_BT, past_key_values=self._cache, use_cache=True,
            logits_to_keep=keep,
        )  # fmt: skip
        logits: torch.Tensor = output.logits.float()
        return logits


def group_prompts(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    """Chunks that share a forward: alike in whether they read a past, none shorter than half the group's longest.

    So at most half of a forward is padding. A chunk whose logits are all wanted stands alone.
    """
    groups: list[list[Chunk]] = []
    for chunk in sorted(chunks, key=lambda c: (c.all_logits, c.start > 0, -len(c.tokens))):
        head = groups[-1][0] if groups else None
        fits = (
            head is not None
            and not chunk.all_logits
            and not head.all_logits
            and (head.start > 0) == (chunk.start > 0)
            and 2 * len(chunk.tokens) >= len(head.tokens)
        )
        groups[-1].append(chunk) if fits else groups.append([chunk])
    return groups


class LoneExecutor:
    """Each sequence alone with the family's own cache."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._device = next(module.parameters()).device
        taken = signature(module.forward).parameters
        # state-space families have a name of their own for what they keep
        self._past_name = "past_key_values" if "past_key_values" in taken else "cache_params"
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        self._past: dict[int, Any] = {}
        self._length_of: dict[int, int] = {}

    @property
    def cache_tokens(self) -> int:
        return sum(self._length_of.values())

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> list[torch.Tensor]:
        return [self._advance(chunk) for chunk in chunks]

    def release(self, key: int) -> None:
        self._past.pop(key, None)
        self._length_of.pop(key, None)

    def _advance(self, chunk: Chunk) -> torch.Tensor:
        # without position_ids and mask: each family derives them from its own cache, as under `generate`
        tokens_1T = torch.tensor([chunk.tokens], device=self._device)
        options = {self._past_name: self._past.get(chunk.key), **({} if chunk.all_logits else self._last_only)}
        output = self._module(input_ids=tokens_1T, use_cache=True, **options)
        self._past[chunk.key] = output[self._past_name]
        self._length_of[chunk.key] = chunk.start + len(chunk.tokens)
        logits: torch.Tensor = output.logits[0]
        # cloned: a view would keep the logits of the whole prompt until the step's end
        return (logits if chunk.all_logits else logits[-1:].clone()).float()
