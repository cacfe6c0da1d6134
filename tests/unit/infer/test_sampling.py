"""Draws: the right distribution after the cuts, the same for the same seed, whatever else is in the batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.infer import SamplingParams
from modelyard.infer.sampling import chances, choose, open_generator

LOGITS = torch.tensor([2.0, 1.0, 0.5, -1.0, -30.0])
DRAWS = 20_000


def frequencies(**params: Any) -> list[float]:
    rows = 500
    generators = [open_generator(seed, 0) for seed in range(rows)]
    counts = torch.zeros(len(LOGITS))
    for _ in range(DRAWS // rows):
        drawn = choose(LOGITS.expand(rows, -1), [SamplingParams(**params)] * rows, generators)
        counts += torch.bincount(torch.tensor(drawn), minlength=len(LOGITS))
    return (counts / DRAWS).tolist()


def softmax(keep: int = 5, temperature: float = 1.0) -> list[float]:
    weights = [math.exp(float(x) / temperature) if i < keep else 0.0 for i, x in enumerate(LOGITS)]
    return [weight / sum(weights) for weight in weights]


CASES: dict[str, tuple[dict[str, Any], list[float]]] = {
    "temperature 1": ({"temperature": 1.0}, softmax()),
    "temperature 2": ({"temperature": 2.0}, softmax(temperature=2.0)),
    "top_k 2": ({"temperature": 1.0, "top_k": 2}, softmax(keep=2)),
    "top_p reaches into the second": ({"temperature": 1.0, "top_p": 0.7}, softmax(keep=2)),
    "top_p within the first": ({"temperature": 1.0, "top_p": 0.1}, softmax(keep=1)),
    "temperature comes before top_p": ({"temperature": 0.3, "top_p": 0.9}, softmax(keep=1)),
    "top_k before top_p": ({"temperature": 1.0, "top_k": 2, "top_p": 0.8}, softmax(keep=2)),
    "a tiny temperature is greedy": ({"temperature": 1e-4}, softmax(keep=1)),
}


@pytest.mark.parametrize("case", CASES)
def test_distribution(case: str) -> None:
    params, expected = CASES[case]
    got = frequencies(**params)
    for frequency, probability in zip(got, expected, strict=True):
        spread = math.sqrt(probability * (1 - probability) / DRAWS)
        assert abs(frequency - probability) <= 4.5 * spread + 1e-9
        assert probability > 0 or frequency == 0


def test_greedy_rows_among_drawn_ones() -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(0)])
    params = [SamplingParams(), SamplingParams(temperature=1.0, top_k=1)]
    assert choose(logits, params, [open_generator(0, 0), open_generator(0, 1)]) == [0, 4]


def test_a_seed_gives_the_same_whatever_is_beside_it() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 50)
    params = SamplingParams(temperature=1.0, top_p=0.9)
    alone = choose(logits[3:4], [params], [open_generator(11, 0)])
    beside = choose(logits, [params] * 7, [open_generator(11 if row == 3 else 99 + row, 0) for row in range(7)])
    assert beside[3] == alone[0]
    streams = {tuple(torch.rand(3, generator=open_generator(*key)).tolist()) for key in [(1, 0), (1, 1), (2, 0)]}
    assert len(streams) == 3
    assert torch.rand((), generator=open_generator(None, 0)) != torch.rand((), generator=open_generator(None, 0))


def test_chances_are_of_the_untempered_distribution() -> None:
    found = chances(LOGITS[None], [1], 2)[0]
    logprobs = LOGITS.log_softmax(0)
    assert found.logprob == pytest.approx(float(logprobs[1]), abs=1e-6)
    assert [token for token, _ in found.top] == [0, 1]
    assert found.top[0][1] == pytest.approx(float(logprobs[0]), abs=1e-6)
    assert chances(LOGITS[None], [1], 0)[0].top == ()


REFUSED: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": -1},
    "temperature": {"temperature": -0.1},
    "temperature is": {"temperature": math.nan},
    "top_p": {"top_p": 0.0},
    "top_k": {"top_k": -1},
    "stop": {"stop": ("",)},
    "stop is 17": {"stop": ("a",) * 17},
    "logprobs": {"logprobs": 6},
    "n is": {"n": 0},
}


@pytest.mark.parametrize("message", REFUSED)
def test_impossible_values_are_refused_by_name(message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SamplingParams(**REFUSED[message])
