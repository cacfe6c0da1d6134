"""Teacher forcing: the log-probability of every token of documents of any length, in padded batches.

A text longer than the context is cut into windows that overlap by half: each window after the first scores only
the tokens that the one before has not, so every token is scored exactly once, and with at least half a context
before it (or all there is). `Model.score` calls it; nothing here samples or caches.
"""

# ruff: noqa: N806 (tensors carry their shape in the name)
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
    """Score all items. `max_tokens` bounds the inputs of one forward (at least one window goes)."""
    logprobs = [np.full(max(0, len(item.tokens) - item.start), np.nan) for item in items]
    greedy = [np.zeros(len(values), dtype=np.bool_) for values in logprobs]
    windows = [
        window
        for index, item in enumerate(items)
        for window in windows_of(index, len(item.tokens), item.start, max_length=max_length, stride=stride)
    ]
    for batch in batches_of(windows, max_tokens):
        for window, (values, hits) in zip(batch, _forward(module, items, batch), strict=True):
            at = slice(window.first - items[window.item].start, window.end + 1 - items[window.item].start)
            logprobs[window.item][at] = values
            greedy[window.item][at] = hits
    return [Scores(values, hits) for values, hits in zip(logprobs, greedy, strict=True)]


def _forward(module: Any, items: Sequence[ScoreItem], batch: Sequence[Window]) -> Iterator[tuple[Any, Any]]:
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
    with torch.inference_mode():
        logits_BTV = module(input_ids=tokens_BT.to(device), use_cache=False).logits.float()
        targets_BT = targets_BT.to(device)
        own_BT = logits_BTV.gather(2, targets_BT[..., None]).squeeze(2)
        logprobs_BT = (own_BT.double() - logits_BTV.logsumexp(dim=2).double()).cpu().numpy()
        greedy_BT = (logits_BTV.argmax(dim=2) == targets_BT).cpu().numpy()
    for row, window in enumerate(batch):
        scored = slice(window.first - 1 - window.begin, window.num_inputs)
        yield logprobs_BT[row, scored], greedy_BT[row, scored]
