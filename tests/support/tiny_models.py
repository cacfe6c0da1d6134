"""Small random models in Hugging Face folders, with a byte-level tokenizer trained on a few lines.

Made by transformers alone, so that what tests compare with does not come from the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from modelyard.text import train_tokenizer

LINES = (
    "The loop is the table of contents: a loop reads as named phases on one screen.",
    "def decide(state, now): return Decision(state.next, now + 1)",
    "Übermäßig große Straßen führen über die Brücke zum Café. Ça va, naïve façade?",
    "日本語のテキストと絵文字🙂🙃を少し。 Плавный текст по-русски.",
    "Return the sum of a 'start' value (default: 0) plus an iterable of numbers.",
    "    >>> sorted([3, 1, 2])\n    [1, 2, 3]\n",
)


@dataclass(frozen=True)
class Bpe:
    algorithm: str = "bpe"
    vocab_size: int = 400


def write_tiny_model(
    folder: Path, model_type: str = "llama", *, context: int = 128, seed: int = 0, scale: float = 6.0, **config: Any
) -> Path:
    """Write a random causal LM of about 100k parameters. `scale` sharpens its distribution, so that greedy text varies
    and ties are rare."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(LINES * 3, Bpe(), folder)
    sizes = {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "tie_word_embeddings": False,
        "intermediate_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    made = transformers.AutoConfig.for_model(model_type)
    allowed = {*made.to_dict(), *made.attribute_map}
    known = {key: value for key, value in sizes.items() if key in allowed}
    made = transformers.AutoConfig.for_model(model_type, **{**known, **config})
    torch.manual_seed(seed)
    module = transformers.AutoModelForCausalLM.from_config(made)
    head = module.get_output_embeddings()
    if head is not None:
        with torch.no_grad():
            head.weight.mul_(scale / head.weight.std() * 0.05)
    module.eval().save_pretrained(folder)
    return folder
