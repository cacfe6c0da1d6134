"""Packed rows: each document's logits are those of the document alone, for families with unlike attention."""

from __future__ import annotations

import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.model import TokenizerFacts, check_packing, derive_config, forward_inputs, random_module, takes_positions

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
FAMILIES = {
    "llama": SMALL | {"num_key_value_heads": 2},
    "qwen2": SMALL | {"num_key_value_heads": 2},
    "qwen3": SMALL | {"num_key_value_heads": 2, "head_dim": 8},
    "mistral": SMALL | {"num_key_value_heads": 2, "sliding_window": 5},
    "gpt_neox": SMALL,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
}
LENGTHS = (9, 1, 14, 8)  # the second document is one token; some are longer than the sliding window


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packed_document_sees_itself_alone(family: str) -> None:
    torch.set_num_threads(1)
    config = derive_config(family, FAMILIES[family], TokenizerFacts(61, 0, 0, 0), 32)
    module = random_module(config, seed=3).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(4.0)  # sharper attention: a leak would show
    generator = torch.Generator().manual_seed(1)
    documents = [torch.randint(1, 61, (n,), generator=generator) for n in LENGTHS]
    positions = torch.cat([torch.arange(n) for n in LENGTHS])[None]
    segments = torch.cat([torch.full((n,), i) for i, n in enumerate(LENGTHS)])[None]
    inputs = forward_inputs(takes_positions(module), torch.cat(documents)[None], positions, segments)
    with torch.no_grad():
        packed = module(**inputs).logits[0].split(list(LENGTHS))
        for document, logits in zip(documents, packed, strict=True):
            alone = module(input_ids=document[None], use_cache=False).logits[0]
            assert torch.allclose(logits, alone, atol=1e-5)


def test_rows_of_one_segment_take_plain_causal_attention() -> None:
    ids = torch.zeros((2, 4), dtype=torch.int64)
    segments = torch.tensor([[0, 0, 0, -1], [0, 0, 0, 0]])
    assert "position_ids" not in forward_inputs(True, ids, ids, segments)


def test_a_family_without_positions_is_not_packed() -> None:
    config = derive_config("bloom", {"hidden_size": 32, "n_layer": 1, "n_head": 4}, TokenizerFacts(61, 0, 0, 0), 32)
    module = random_module(config)
    with pytest.raises(InvalidInputError, match="packed documents would see each other"):
        check_packing(module, packing=True)
    check_packing(module, packing=False)
