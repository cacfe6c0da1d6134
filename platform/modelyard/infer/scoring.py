"""Teacher forcing: the log-probability of every token of documents of any length, in padded batches.

A text longer than the context is cut into windows that overlap by half: each window after the first scores only
the tokens that the one before has not, so every token is scored exactly once, and with at least half a context
before it (or all there is). `Model.score` calls it; nothing here samples or caches.
"""

# ruff: noqa: N803, N806 (tensors carry their shape in the name)
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.infer.requests import ScoreItem, Scores


@dataclass(frozen=True)
class Window:
    """Inputs `begin`..`end` (exclusive) of an item's tokens; the targets scored are `first`..`end` (inclusive).

    Target t is predicted at input t - 1.
    """

    item: int
    begin: int
    end: int
    first: int

    @property
    def num_inputs(self) -> int:
        return self.end - self.begin


def windows_of(item: int, num_tokens: int, start: int, *, max_length: int, stride: int) -> Iterator[Window]:
    """The windows that score targets `start`..`num_tokens - 1`, each exactly once, at most `max_length` inputs wide.

    `stride` is how many new targets a window after the first scores; `max_length` gives disjoint windows.
    """
    first = start
    while first < num_tokens:
        if first == start and first <= max_length:
            end = min(num_tokens - 1, max_length)
            begin = 0
        else:
            end = min(num_tokens - 1, first - 1 + stride)
            begin = max(0, end - max_length)
        yield Window(item, begin, end, first)
        first = end + 1


def batches_of(windows: Sequence[Window], max_tokens: int) -> list[list[Window]]:
    """Windows of like width together (longest first), each batch at most `max_tokens` inputs with its padding."""
    batches: list[list[Window]] = []
    for window in sorted(windows, key=lambda w: -w.num_inputs):
        fits = batches and (len(batches[-1]) + 1) * batches[-1][0].num_inputs <= max_tokens
        batches[-1].append(window) if fits else batches.append([window])
    return batches


def score(module: Any, items: Sequence[ScoreItem], *, max_length: int, stride: int, max_tokens: int) -> list[Scores]:
    """Score all items. `max_tokens` bounds the inputs of one forward (at least one window goes).

    It bounds the logits held at once as well, also of a wider window; only in a family that does more behind its head
    (caps, scales) those of all the window are there together.
    """
    from modelyard.model import plain_head

    logprobs = [np.full(max(0, len(item.tokens) - item.start), np.nan) for item in items]
    greedy = [np.zeros(len(values), dtype=np.bool_) for values in logprobs]
    windows = [
        window
        for index, item in enumerate(items)
        for window in windows_of(index, len(item.tokens), item.start, max_length=max_length, stride=stride)
    ]
    head = plain_head(module) if any(window.num_inputs > max_tokens for window in windows) else None
    for batch in batches_of(windows, max_tokens):
        for window, (values, hits) in zip(batch, _forward(module, head, items, batch, max_tokens), strict=True):
            at = slice(window.first - items[window.item].start, window.end + 1 - items[window.item].start)
            logprobs[window.item][at] = values
            greedy[window.item][at] = hits
    return [Scores(values, hits) for values, hits in zip(logprobs, greedy, strict=True)]


def _forward(
    module: Any, head: Any, items: Sequence[ScoreItem], batch: Sequence[Window], max_tokens: int
) -> Iterator[tuple[Any, Any]]:
    """(log-probabilities, first choice?) of each window's targets, as NumPy.

    Padding lies on the right and attention is causal, so it changes nothing and needs no mask.
    """
    import torch

    width = batch[0].num_inputs
    device = next(module.parameters()).device
    tokens_BT = torch.zeros(len(batch), width, dtype=torch.long)
    targets_BT = torch.zeros(len(batch), width, dtype=torch.long)
    for row, window in enumerate(batch):
        tokens = torch.tensor(items[window.item].tokens[window.begin : window.end + 1])
        tokens_BT[row, : window.num_inputs] = tokens[:-1]
        targets_BT[row, : window.num_inputs] = tokens[1:]
    logprobs, greedy, done = [], [], 0
    with torch.inference_mode():
        for part_BCV in _logits(module, head, tokens_BT.to(device), max_tokens):
            logits_BCV = part_BCV.float()
            targets_BC = targets_BT[:, done : done + logits_BCV.shape[1]].to(device)
            own_BC = logits_BCV.gather(2, targets_BC[..., None]).squeeze(2)
            logprobs.append((own_BC.double() - logits_BCV.logsumexp(dim=2).double()).cpu())
            greedy.append((logits_BCV.argmax(dim=2) == targets_BC).cpu())
            done += logits_BCV.shape[1]
    logprobs_BT, greedy_BT = torch.cat(logprobs, dim=1).numpy(), torch.cat(greedy, dim=1).numpy()
    for row, window in enumerate(batch):
        scored = slice(window.first - 1 - window.begin, window.num_inputs)
        yield logprobs_BT[row, scored], greedy_BT[row, scored]


def _logits(module: Any, head: Any, tokens_BT: Any, max_tokens: int) -> Iterator[Any]:
    """The logits [B, C, V] of one stretch of positions after the other; of all in one when there is no `head` apart."""
    if head is None or tokens_BT.numel() <= max_tokens:
        yield module(input_ids=tokens_BT, use_cache=False).logits
        return
    for hidden_BCD in _head_inputs(module, head, tokens_BT).split(max_tokens, dim=1):  # such a window is alone: B = 1
        yield head(hidden_BCD)


def _head_inputs(module: Any, head: Any, tokens_BT: Any) -> Any:
    """The hidden states [B, T, D] that the head reads; of the logits only the last position's are made meanwhile."""
    seen = []

    def take(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        seen.append(inputs[0])
        return (inputs[0][:, -1:],)

    hook = head.register_forward_pre_hook(take)
    try:
        module(input_ids=tokens_BT, use_cache=False)
    finally:
        hook.remove()
    return seen[0]
