"""Modules from configs and folders."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.errors import IntegrityError, InvalidInputError, NotFoundError
from modelyard.model import TokenizerFacts, build, count_parameters, load_folder, read_config, save_folder
from modelyard.text import train_tokenizer

QUICKSTART = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "tie_word_embeddings": True,
}  # fmt: skip
TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
FACTS = TokenizerFacts(300, 0, 0, 0)


@dataclass
class Wish:
    architecture: str | None = "llama"
    config: dict[str, Any] = field(default_factory=lambda: dict(TINY))


@dataclass
class Bpe:
    algorithm: str = "bpe"
    vocab_size: int = 300


def save(module: torch.nn.Module, folder: Path, tokenizer: Path | None = None) -> int:
    return save_folder(
        ((n, p.detach()) for n, p in module.named_parameters()), module.config, folder,
        tokenizer_folder=tokenizer, card="# card\n",
    )  # fmt: skip


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(Wish(), facts=FACTS, sequence_length=32, seed=5).state_dict()
    torch.manual_seed(99)
    again = build(Wish(), facts=FACTS, sequence_length=32, seed=5).state_dict()
    other = build(Wish(), facts=FACTS, sequence_length=32, seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("architecture", "config", "positions"),
    [
        ("llama", TINY, "max_position_embeddings"),
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "n_positions"),
        ("qwen3", TINY | {"head_dim": 8, "num_key_value_heads": 1}, "max_position_embeddings"),
    ],
)
def test_vocabulary_specials_and_positions_are_derived(
    architecture: str, config: dict[str, Any], positions: str
) -> None:
    module = build(Wish(architecture, config), facts=TokenizerFacts(300, 1, 2, 3), sequence_length=48)
    made = module.config
    assert (made.vocab_size, made.bos_token_id, made.eos_token_id, made.pad_token_id) == (300, 1, 2, 3)
    assert getattr(made, positions) == 48
    assert module.training


def test_the_quickstart_has_its_parameters() -> None:
    attention, mlp, norms = 4 * 192 * 192, 3 * 192 * 512, 2 * 192
    assert count_parameters(Wish(config=QUICKSTART), 4096) == 4096 * 192 + 4 * (attention + mlp + norms) + 192


def test_an_unknown_architecture_is_refused_with_near_ones() -> None:
    with pytest.raises(InvalidInputError, match="llama"):
        build(Wish("lama"), facts=FACTS, sequence_length=8)
    with pytest.raises(InvalidInputError, match="no causal language model"):
        build(Wish("t5", {}), facts=FACTS, sequence_length=8)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra"])
def test_a_model_that_reads_in_both_directions_is_refused(architecture: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{architecture} reads in both directions"):
        build(Wish(architecture), facts=FACTS, sequence_length=64)


def test_numbers_that_do_not_fit_each_other_are_refused_in_words() -> None:
    wish = Wish("qwen3", {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2})
    with pytest.raises(InvalidInputError, match="this qwen3 model cannot read a text") as refused:
        build(wish, facts=FACTS, sequence_length=64)
    assert "key-value heads" in refused.value.hint


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3", "gpt_neox", "mamba", "opt"])
def test_decoders_of_other_families_are_built_in_training_mode(architecture: str) -> None:
    small = {"n_embd": 16, "n_layer": 1, "n_head": 2} if architecture == "gpt2" else {}
    tiny = {} if small else {"hidden_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2} if architecture in ("qwen3", "gpt_neox", "opt") else {}
    groups = {"num_key_value_heads": 1, "head_dim": 8} if architecture == "qwen3" else {}
    module = build(Wish(architecture, {**small, **tiny, **heads, **groups}), facts=FACTS, sequence_length=64)
    assert module.training
    assert not any(buffer.is_inference() for buffer in module.buffers())


def test_a_saved_folder_loads_in_plain_transformers(tmp_path: Path) -> None:
    import transformers

    train_tokenizer(["some words", "more words"], Bpe(), tmp_path / "tokenizer")
    module = build(Wish(config=TINY | {"tie_word_embeddings": True}), facts=FACTS, sequence_length=32).eval()
    parameters = save(module, tmp_path / "out", tmp_path / "tokenizer")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = torch.tensor([tokenizer("some words").input_ids])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, module(ids).logits)
    assert parameters == sum(p.numel() for p in module.parameters())
    assert {"config.json", "generation_config.json", "model.safetensors", "README.md"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_fine_tuning_starts_from_the_folders_weights(tmp_path: Path) -> None:
    module = build(Wish(), facts=FACTS, sequence_length=32, seed=8)
    save(module, tmp_path / "base")
    again = build(Wish(None, {}), facts=FACTS, sequence_length=16, folder=tmp_path / "base")
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))
    with pytest.raises(InvalidInputError, match="32 positions"):
        build(Wish(None, {}), facts=FACTS, sequence_length=64, folder=tmp_path / "base")
    with pytest.raises(InvalidInputError, match="301 tokens"):
        build(Wish(None, {}), facts=TokenizerFacts(301), sequence_length=16, folder=tmp_path / "base")


def test_pickles_remote_code_and_broken_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    with pytest.raises(NotFoundError, match="safetensors"):
        load_folder(folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInputError, match="pickled"):
        load_folder(folder)
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read_config(folder)
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not JSON"):
        read_config(folder)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}), encoding="utf-8"
    )
    with pytest.raises(InvalidInputError) as refused:
        read_config(folder)
    assert "code of its own" in refused.value.hint


def test_a_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    module = build(Wish(), facts=FACTS, sequence_length=32)
    state = [(n, p.detach()) for n, p in module.named_parameters()]
    with pytest.raises(IntegrityError, match="no value for"):
        save_folder(state[:-2], module.config, tmp_path / "out", tokenizer_folder=None, card="")
    with pytest.raises(IntegrityError, match="unknown tensor"):
        save_folder(
            [*state, ("other", torch.zeros(1))], module.config, tmp_path / "out", tokenizer_folder=None, card=""
        )
