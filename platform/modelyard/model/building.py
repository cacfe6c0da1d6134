"""A torch module from the manifest: random weights by config, or a folder's weights to go on from."""

# ruff: noqa: N806 (tensors carry their shape in the name)
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from modelyard.errors import InvalidInputError
from modelyard.model.configs import TokenizerFacts, derive_config
from modelyard.model.families import causal_lm_class
from modelyard.model.folders import empty_module, load_folder, read_config

_CAUSAL_LENGTH = 6
_CAUSAL_TOLERANCE = 1e-3  # of the logits' spread: encoders differ by some hundredths, decoders by rounding at most


class ModelWish(Protocol):
    """The part of `spec.model` that decides which module is built."""

    @property
    def architecture(self) -> str | None: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


def build(
    wish: ModelWish,
    *,
    facts: TokenizerFacts,
    sequence_length: int,
    folder: Path | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> torch.nn.Module:
    """The module to train, on the CPU, in training mode.

    With `folder` its weights are loaded; else they are random: a function of `seed` and the config alone, so that
    every rank of every layout starts from the same ones.
    """
    if folder is not None:
        module = load_folder(folder, dtype=dtype)
        _check_fits(module.config, facts, sequence_length, folder)
        _check_causal(module)
        return module.train()
    if wish.architecture is None:
        raise InvalidInputError("spec.model: neither architecture nor a folder to load the weights from")
    config = derive_config(wish.architecture, wish.config, facts, sequence_length)
    module = random_module(config, dtype=dtype, seed=seed)
    _check_causal(module)
    return module.train()


def random_module(config: Any, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
    """A freshly initialised causal language model; leaves the process's own generator where it was."""
    kind = causal_lm_class(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: torch.nn.Module = kind._from_config(config, dtype=torch.float32)
    return module.to(dtype)


def count_parameters(wish: ModelWish, vocab_size: int, *, folder: Path | None = None) -> int:
    """How many parameters the model has, tied ones once; no memory is spent on weights."""
    if folder is not None:
        config = read_config(folder)
    elif wish.architecture is not None:
        config = derive_config(wish.architecture, wish.config, TokenizerFacts(vocab_size), 1024)
    else:
        raise InvalidInputError("spec.model: neither architecture nor a folder: nothing to count")
    return sum(p.numel() for p in empty_module(config).parameters())


@torch.no_grad()
def _check_causal(module: Any) -> None:
    """Refuse a model that cannot read, or reads in both directions: it would see the tokens that it is to predict.

    transformers gives encoders (bert, xlnet, …) a causal head too. Two texts that differ in their last token alone
    must have the same logits before it.
    """
    vocab_size = module.config.get_text_config().vocab_size
    texts_BT = torch.arange(_CAUSAL_LENGTH).repeat(2, 1) % vocab_size
    texts_BT[1, -1] = (texts_BT[1, -1] + 1) % vocab_size
    try:
        one_TV, other_TV = module.eval()(input_ids=texts_BT).logits[:, :-1].float()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InvalidInputError(
            f"spec.model: this {module.config.model_type} model cannot read a text: {error}",
            hint="numbers of spec.model.config that must fit each other do not (heads, key-value heads, widths)",
        ) from error
    apart = float((one_TV - other_TV).abs().max())
    if apart > _CAUSAL_TOLERANCE * float(one_TV.std()):  # logits that are no numbers: the first step names its batch
        raise InvalidInputError(
            f"spec.model: {module.config.model_type} reads in both directions: as a causal-lm it would see the tokens "
            "that it is to predict",
            hint="choose a decoder, such as llama, gpt2 or qwen3",
        )


def _check_fits(config: Any, facts: TokenizerFacts, sequence_length: int, folder: Path) -> None:
    """Refuse a tokenizer or a sequence that the folder's model cannot take."""
    text = config.get_text_config()
    if facts.vocab_size > text.vocab_size:
        raise InvalidInputError(
            f"the tokenizer has {facts.vocab_size} tokens, the model in {folder} only {text.vocab_size}",
            hint="leave out spec.model.tokenizer: the folder's own is used",
        )
    longest = getattr(text, "max_position_embeddings", None)
    if isinstance(longest, int) and 0 < longest < sequence_length:
        raise InvalidInputError(
            f"spec.data.sequenceLength is {sequence_length}, but the model in {folder} has {longest} positions",
            hint=f"set spec.data.sequenceLength to at most {longest}",
        )
