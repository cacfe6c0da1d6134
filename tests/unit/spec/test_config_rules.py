"""Rules of `model.config` by family: other names of keys, defaults that do not fit what is written."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.spec.rules.configs import check_config


def _said(architecture: str, **config: Any) -> list[str]:
    return [f"{said.location[-1]}: {said.message}" for said in check_config(architecture, config, ("spec", "model"))]


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("gpt2", {"n_embd": 96, "n_layer": 2, "n_head": 4}),
        ("gpt2", {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}),
        (
            "qwen3",
            {"hidden_size": 100, "num_attention_heads": 4, "num_key_value_heads": 2},
        ),  # head_dim stands by itself
        ("mistral", {"hidden_size": 64, "num_attention_heads": 8, "head_dim": 8}),
        ("llama", {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": None, "rope_parameters": None}),
        ("llama", {"attention_dropout": 0, "rms_norm_eps": 1e-5, "hidden_act": "silu", "attention_bias": False}),
        ("llama", {}),
    ],
)
def test_what_fits_is_not_objected_to(architecture: str, config: dict[str, Any]) -> None:
    assert _said(architecture, **config) == []


def test_a_default_that_does_not_fit_is_named() -> None:
    (said,) = _said("qwen3", hidden_size=64, num_attention_heads=6, head_dim=16)
    assert "num_key_value_heads 32 (transformers' default) does not divide num_attention_heads 6" in said


def test_two_names_of_one_key() -> None:
    (said,) = _said("gpt2", n_embd=96, hidden_size=96)
    assert said == "hidden_size: means the same as n_embd, which is set too"


def test_the_place_is_the_key_that_is_written() -> None:
    (said,) = _said("gpt2", hidden_size=100, num_attention_heads=3)
    assert said.startswith("num_attention_heads: n_head 3 does not divide n_embd 100")


def test_a_flag_is_no_number() -> None:
    (said,) = _said("llama", hidden_size=True)
    assert said == "hidden_size: is true, must be a whole number"


def test_an_activation_that_does_not_exist() -> None:
    (said,) = check_config("llama", {"hidden_act": "sillu"}, ())
    assert said.message == 'is "sillu", which is no activation of transformers'
    assert said.fix == "did you mean silu?"


def test_known_keys_are_those_that_may_be_written() -> None:
    (said,) = check_config("rwkv", {"qqqq": 1}, ())
    assert "hidden_size" in said.fix
    assert "token_id" not in said.fix
    assert "vocab_size" not in said.fix
