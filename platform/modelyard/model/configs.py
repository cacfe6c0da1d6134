"""A transformers config from the manifest's words: what the user wrote, and what is derived from tokenizer and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidInputError
from modelyard.model.families import config_class

POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")


@dataclass(frozen=True)
class TokenizerFacts:
    """What a model must know of its tokenizer."""

    vocab_size: int
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None


def derive_config(architecture: str, written: Mapping[str, Any], facts: TokenizerFacts, sequence_length: int) -> Any:
    """The config object of a new model; vocabulary, special tokens and positions come from tokenizer and data.

    Raises InvalidInputError in transformers' words when it refuses the combination.
    """
    kind = config_class(architecture)
    derived: dict[str, Any] = {
        "vocab_size": facts.vocab_size,
        "bos_token_id": facts.bos_id,
        "eos_token_id": facts.eos_id,
        "pad_token_id": facts.pad_id,
    }
    try:
        plain = kind()
        for key in POSITION_KEYS:
            if key in plain.to_dict() and key not in written:
                derived[key] = sequence_length
        return kind(**{**written, **derived})
    except InvalidInputError:
        raise
    except Exception as error:  # configs validate with exceptions of many classes
        raise InvalidInputError(
            f"spec.model.config: transformers refuses this {architecture} configuration: {error}",
            hint=f"compare with the fields of transformers' {kind.__name__}",
        ) from error
