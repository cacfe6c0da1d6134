"""The objective's loss: chunked from hidden states where that is exact, from all logits elsewhere; the same number."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from modelyard.data import IGNORED
from modelyard.model import TokenizerFacts, derive_config, plain_head, random_module
from modelyard.train.batches import MicroBatch
from modelyard.train.objectives import open_objective

LENGTH, VOCABULARY = 24, 160
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "llama": {**SMALL, "intermediate_size": 64, "tie_word_embeddings": True},
    "qwen3": {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 16},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}


def module_of(family: str, config: dict[str, object]) -> torch.nn.Module:
    return random_module(derive_config(family, config, TokenizerFacts(VOCABULARY, 0, 1, 2), LENGTH), seed=3).train()


def a_batch(*, ignored: bool = False) -> MicroBatch:
    chance = torch.Generator().manual_seed(5)
    ids = torch.randint(0, VOCABULARY, (3, LENGTH + 1), generator=chance)
    labels = ids[:, 1:].clone()
    labels[:, ::5] = IGNORED
    if ignored:
        labels[:] = IGNORED
    positions = torch.cat([torch.arange(10), torch.arange(LENGTH - 10)]).expand(3, -1)
    segments = torch.tensor([0] * 10 + [1] * (LENGTH - 10)).expand(3, -1)
    return MicroBatch(ids[:, :-1], labels, positions, segments)


def gradients(module: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_all_logits(family: str) -> None:
    module, batch = module_of(family, FAMILIES[family]), a_batch()
    assert plain_head(module) is not None
    logits = module(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
    plain = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="sum")
    wanted = gradients(module, plain)
    loss = open_objective("causal-lm", module, packing=True).loss_sum(module, batch)
    found = gradients(module, loss)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, atol=1e-5, rtol=1e-4), name


def test_a_share_without_labels_weighs_nothing() -> None:
    module = module_of("llama", FAMILIES["llama"])
    loss = open_objective("causal-lm", module, packing=True).loss_sum(module, a_batch(ignored=True))
    assert float(loss.detach()) == 0.0
    assert all(not gradient.any() for gradient in gradients(module, loss).values())


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("gemma2", {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 16}),
        ("cohere", {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "logit_scale": 0.0625}),
    ],
)
def test_a_family_that_does_more_behind_its_head_gives_all_logits(family: str, config: dict[str, object]) -> None:
    module, batch = module_of(family, config), a_batch()
    assert plain_head(module) is None
    logits = module(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
    plain = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="sum")
    loss = open_objective("causal-lm", module, packing=True).loss_sum(module, batch)
    assert float(loss.detach()) == float(plain.detach())


def test_in_bf16_the_loss_is_summed_in_fp32() -> None:
    module = module_of("llama", FAMILIES["llama"]).to(torch.bfloat16)
    loss = open_objective("causal-lm", module, packing=True).loss_sum(module, a_batch())
    assert loss.dtype == torch.float32


def test_looking_for_the_head_leaves_the_module_as_it_was() -> None:
    module = module_of("llama", FAMILIES["llama"])
    plain_head(module)
    assert module.training
    assert all(p.grad is None for p in module.parameters())
