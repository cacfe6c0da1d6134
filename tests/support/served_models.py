"""A tiny Llama folder for tests that serve: random weights, a byte-level tokenizer, no training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_TEXT = "The cat sat on the mat. Zoë said: “naïve façade” — 日本語 and 🙂 emoji. def read(path): return open(path)\n"


@dataclass(frozen=True)
class _Bpe:
    algorithm: str = "bpe"
    vocab_size: int = 300


def make_model_folder(folder: Path, *, chat: bool = False, context: int = 256, width: int = 32) -> Path:
    """Write the folder (config, safetensors, tokenizer) and return it. The same arguments give the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from modelyard.text import train_tokenizer

    tokenizer = train_tokenizer([_TEXT] * 4, _Bpe(), folder)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=0.2,  # ten times the usual: distinct logits, so that greedy answers are stable
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )
    torch.manual_seed(5)
    LlamaForCausalLM(config).save_pretrained(folder)
    if chat:
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder
