"""Scores equal transformers alone; windows score every token exactly once, with context before it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidInputError
from modelyard.infer import Model, ScoreItem, open_model
from modelyard.infer.scoring import batches_of, windows_of


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 40), st.data())
def test_windows_score_each_target_once(num_tokens: int, start: int, max_length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, max_length))
    windows = list(windows_of(0, num_tokens, start, max_length=max_length, stride=stride))
    targets = [target for window in windows for target in range(window.first, window.end + 1)]
    assert targets == list(range(start, num_tokens))
    for window in windows:
        assert 1 <= window.num_inputs <= max_length
        assert 0 <= window.begin < window.first <= window.end < num_tokens
        # at least max_length - stride tokens lie before the first target, or all there are
        assert window.first - window.begin >= min(window.first, max_length - stride + 1)


@given(st.lists(st.integers(2, 50), max_size=20), st.integers(1, 120))
def test_batches_hold_all_windows_within_the_budget(lengths: list[int], max_tokens: int) -> None:
    windows = [w for i, n in enumerate(lengths) for w in windows_of(i, n, 1, max_length=16, stride=8)]
    batches = batches_of(windows, max_tokens)
    assert sorted(map(repr, windows)) == sorted(repr(w) for batch in batches for w in batch)
    assert all(len(b) == 1 or len(b) * max(w.num_inputs for w in b) <= max_tokens for b in batches)


def alone(module: Any, tokens: tuple[int, ...], start: int) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        logprobs = module(torch.tensor([tokens])).logits[0].log_softmax(-1)
    return logprobs[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[start - 1 :, 0].numpy()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "bloom"])
def test_scores_equal_transformers_alone(
    family: str, folder: Callable[..., Path], reference: Callable[..., Any]
) -> None:
    model, module = open_model(folder(family), max_sequence_length=120), reference(family)
    rnd = random.Random(3)
    items = [
        ScoreItem(tuple(rnd.randrange(model.vocab_size) for _ in range(rnd.randint(2, 110))), rnd.choice([1, 1, 2]))
        for _ in range(40)
    ]
    for item, scores in zip(items, model.score(items), strict=True):
        assert np.abs(scores.logprobs - alone(module, item.tokens, item.start)).max(initial=0) < 1e-5
        assert len(scores.greedy) == len(scores.logprobs)


@pytest.mark.parametrize(("family", "most"), [("llama", 20), ("gpt2", 20), ("bloom", 20), ("gemma2", 110)])
def test_logits_of_a_wide_window_are_made_piece_by_piece(
    family: str,
    most: int,
    folder: Callable[..., Path],
    reference: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of Gemma 2, which caps its logits behind the head, they are made at once."""
    model, module = open_model(folder(family), max_sequence_length=120), reference(family)
    monkeypatch.setattr("modelyard.infer.executor.MAX_LOGIT_ELEMENTS", 20 * model.vocab_size)
    made: list[int] = []
    head = model.module.get_output_embeddings()
    head.register_forward_hook(lambda _, __, logits: made.append(logits.shape[0] * logits.shape[1]))
    rnd = random.Random(5)
    items = [ScoreItem(tuple(rnd.randrange(model.vocab_size) for _ in range(size)), 1) for size in (111, 45, 8, 7)]
    for item, scores in zip(items, model.score(items), strict=True):
        assert np.abs(scores.logprobs - alone(module, item.tokens, 1)).max() < 1e-5
    assert max(made) == most


def test_texts_beyond_the_context(llama: Model, reference: Callable[..., Any]) -> None:
    module, length = reference("llama"), llama.max_length
    rnd = random.Random(4)
    tokens = tuple(rnd.randrange(llama.vocab_size) for _ in range(3 * length + 17))
    by_half = llama.score([ScoreItem(tokens)])[0].logprobs
    assert np.isfinite(by_half).all()
    assert np.abs(by_half[:length] - alone(module, tokens[: length + 1], 1)).max() < 1e-5
    # the second window's first target has half a context and itself before it
    second = alone(module, tokens[length // 2 : length // 2 + length + 1], length // 2 + 1)
    assert np.abs(by_half[length : length + length // 2] - second).max() < 1e-5
    disjoint = llama.score([ScoreItem(tokens)], stride=length)[0].logprobs
    third = alone(module, tokens[2 * length : 3 * length + 1], 1)
    assert np.abs(disjoint[2 * length : 3 * length] - third).max() < 1e-5


def test_greedy_hits(llama: Model, reference: Callable[..., Any]) -> None:
    completion = llama.generate([[5, 6, 7]])[0]
    scores = llama.score([ScoreItem((5, 6, 7, *completion.token_ids), 3)])[0]
    assert scores.greedy.all()


def test_nothing_to_score_and_nothing_before(llama: Model) -> None:
    assert llama.score([]) == []
    assert len(llama.score([ScoreItem((1,))])[0].logprobs) == 0
    with pytest.raises(InvalidInputError, match="nothing before it"):
        llama.score([ScoreItem((1, 2), 0)])


@pytest.mark.parametrize("stride", [-1, 0, 129])
def test_a_stride_that_leaves_targets_without_a_window(llama: Model, stride: int) -> None:
    with pytest.raises(InvalidInputError, match="a window scores 1 to 128 tokens"):
        llama.score([ScoreItem((1, 2))], stride=stride)
