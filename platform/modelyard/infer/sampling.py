"""From logits to tokens, for all rows of a step at once; every row draws from its own stream of chance.

Shapes: N rows, V vocabulary. A row's draw is one uniform number from its own generator, so what a request gets
does not depend on what else is in the batch (beyond the last bits of the logits). The engine calls it.
"""

# ruff: noqa: N803, N806 (tensors carry their shape in the name)
from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modelyard.infer.requests import SamplingParams


@dataclass(frozen=True)
class TokenChances:
    """A token's natural log-probability and the best (id, log-probability) beside it, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


def open_generator(seed: int | None, choice: int) -> torch.Generator:
    """A stream of chance that is a function of (seed, choice); with seed None a fresh one."""
    generator = torch.Generator()
    text = secrets.token_hex(8) if seed is None else str(seed)
    digest = hashlib.sha256(f"{text}/{choice}".encode()).digest()
    generator.manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    return generator


def choose(
    logits_NV: torch.Tensor, params: Sequence[SamplingParams], generators: Sequence[torch.Generator]
) -> list[int]:
    """The next token of every row: argmax at temperature 0, else a draw by inverse CDF.

    The order of cuts is transformers': temperature, then top_k, then top_p (the smallest set of best tokens whose
    probability reaches top_p; the best one always stays).
    """
    chosen = logits_NV.argmax(dim=-1).tolist()
    drawn = [row for row, param in enumerate(params) if param.temperature > 0 and param.top_k != 1]
    if drawn:
        draws = _draw(logits_NV[drawn], [params[row] for row in drawn], [generators[row] for row in drawn])
        for row, token in zip(drawn, draws, strict=True):
            chosen[row] = token
    return [int(token) for token in chosen]


def _draw(
    logits_NV: torch.Tensor, params: Sequence[SamplingParams], generators: Sequence[torch.Generator]
) -> list[int]:
    device = logits_NV.device
    temperature = torch.tensor([param.temperature for param in params], dtype=torch.float64, device=device)
    top_p = torch.tensor([param.top_p for param in params], dtype=torch.float64, device=device)
    top_k = torch.tensor([param.top_k or logits_NV.shape[-1] for param in params], device=device)
    uniform = torch.stack([torch.rand((), dtype=torch.float64, generator=g) for g in generators]).to(device)

    best_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
    # the best logit is taken off first, so that a tiny temperature cannot overflow
    scaled_NV = (best_NV.double() - best_NV[:, :1].double()) / temperature[:, None]
    ranks = torch.arange(logits_NV.shape[-1], device=device)
    scaled_NV = scaled_NV.masked_fill(ranks >= top_k[:, None], -torch.inf)
    probability_NV = scaled_NV.softmax(dim=-1)
    before_NV = probability_NV.cumsum(dim=-1) - probability_NV  # probability of all better tokens
    probability_NV = probability_NV.masked_fill((before_NV >= top_p[:, None]) & (ranks > 0), 0.0)
    cdf_NV = probability_NV.cumsum(dim=-1)
    target = uniform * cdf_NV[:, -1]
    index = torch.searchsorted(cdf_NV, target[:, None], right=True).squeeze(-1)
    last = (probability_NV > 0).sum(dim=-1) - 1  # rounding must not step beyond the kept tokens
    return order_NV.gather(1, torch.minimum(index, last)[:, None]).squeeze(-1).tolist()


def chances(logits_NV: torch.Tensor, tokens: Sequence[int], num_top: int) -> list[TokenChances]:
    """Log-probabilities of the given tokens under the untempered distribution, and of the `num_top` best."""
    logprobs_NV = logits_NV.float().log_softmax(dim=-1)
    index = torch.tensor(tokens, device=logits_NV.device)
    own = logprobs_NV.gather(1, index[:, None]).squeeze(-1).tolist()
    if num_top == 0:
        return [TokenChances(logprob, ()) for logprob in own]
    values, ids = logprobs_NV.topk(min(num_top, logprobs_NV.shape[-1]), dim=-1)
    tops = [tuple(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
    return [TokenChances(logprob, top) for logprob, top in zip(own, tops, strict=True)]
