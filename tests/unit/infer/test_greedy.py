"""Greedy text is `model.generate`'s of transformers, alone and in company, for families of every kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.infer import Engine, Model, Request, SamplingParams, open_model

MAX_TOKENS = 24
TIE = 1e-5  # where the two best logits lie closer than this, either may be taken


def random_prompts(count: int, vocab_size: int, longest: int = 60, seed: int = 1) -> list[tuple[int, ...]]:
    rnd = random.Random(seed)
    return [tuple(rnd.randrange(1, vocab_size) for _ in range(rnd.randint(1, longest))) for _ in range(count)]


def expected(module: Any, prompt: Sequence[int], max_tokens: int = MAX_TOKENS) -> tuple[int, ...]:
    tokens = torch.tensor([prompt])
    out = module.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=max_tokens, do_sample=False, pad_token_id=0
    )
    return tuple(out[0, len(prompt) :].tolist())


def assert_same(module: Any, prompt: Sequence[int], ours: Sequence[int], theirs: Sequence[int]) -> None:
    if tuple(ours) == tuple(theirs):
        return
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
    with torch.no_grad():
        best = module(torch.tensor([[*prompt, *theirs[:at]]])).logits[0, -1].topk(2).values
    assert float(best[0] - best[1]) < TIE, f"token {at} differs: {ours[at]} is not {theirs[at]}"


def test_200_prompts_alone_and_8_together(llama: Model, reference: Callable[..., Any]) -> None:
    module = reference("llama")
    prompts = random_prompts(200, llama.vocab_size)
    wanted = [expected(module, prompt) for prompt in prompts]
    assert len(set(wanted)) > 150  # the texts differ: equality says something
    params = SamplingParams(max_tokens=MAX_TOKENS)
    for prompt, theirs in zip(prompts, wanted, strict=True):
        assert_same(module, prompt, llama.generate([prompt], params)[0].token_ids, theirs)
    for start in range(0, len(prompts), 8):
        together = llama.generate(prompts[start : start + 8], params)
        for prompt, completion, theirs in zip(prompts[start:], together, wanted[start:], strict=False):
            assert_same(module, prompt, completion.token_ids, theirs)


FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 8},
    "gemma3_text": {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "gemma2": {},  # soft-capped: no shared forward
    "bloom": {},  # alibi
    "mamba": {"state_size": 4},  # no attention at all
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_together(family: str, folder: Callable[..., Path], reference: Callable[..., Any]) -> None:
    path = folder(family, **FAMILIES[family])
    model = open_model(path, max_sequences=5, max_batch_tokens=16, max_sequence_length=100)
    module = reference(family, **FAMILIES[family])
    prompts = random_prompts(9, model.vocab_size, longest=40)
    completions = model.generate(prompts, SamplingParams(max_tokens=12))
    for prompt, completion in zip(prompts, completions, strict=True):
        assert_same(module, prompt, completion.token_ids, expected(module, prompt, 12))
    assert model.batched == (family not in {"gemma2", "bloom", "mamba"})


def test_requests_that_come_at_any_time(llama: Model, reference: Callable[..., Any]) -> None:
    module = reference("llama")
    prompts = random_prompts(40, llama.vocab_size, seed=5)
    rnd = random.Random(2)
    engine = Engine(llama)
    got: dict[str, list[int]] = {}
    queue = [Request(str(i), p, SamplingParams(max_tokens=rnd.randint(1, 20))) for i, p in enumerate(prompts)]
    wanted = {request.id: request for request in queue}
    while queue or engine.has_work:
        for _ in range(rnd.randint(0, 3)):
            if queue:
                engine.add(queue.pop(0))
        for event in engine.step():
            got.setdefault(event.request_id, []).extend(event.token_ids)
    assert engine.cache_tokens == 0
    for name, tokens in got.items():
        request = wanted[name]
        assert_same(module, request.prompt, tokens, expected(module, request.prompt, request.params.max_tokens))
