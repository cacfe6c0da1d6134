"""From a folder to a module that can answer, with the facts that the engine needs. `open_model` calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from modelyard.infer.cache import ATTENTION
from modelyard.infer.executor import Chunk, SlotExecutor
from modelyard.model import DTYPES, load_folder

# How far batched logits may lie from the family's own forward, relative to their spread: fp32 differs by rounding
# (1e-6 seen), half precisions by their own; a wrong mask or position is off by more than 0.1.
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.03}


@dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode. `context` is None where the family names no longest position.

    `batched`: sequences at different positions may share a forward (see `probe`).
    """

    module: Any
    context: int | None
    vocab_size: int
    eos_ids: frozenset[int]
    batched: bool


def load(folder: Path, *, precision: str, device: str) -> Loaded:
    """Load the weights and find out how this family may be run."""
    dtype = DTYPES[precision]
    transformers_logging.disable_progress_bar()
    module: Any = load_folder(folder, dtype=dtype, device=device)
    text_config = module.config.get_text_config()
    eos = getattr(module.generation_config, "eos_token_id", None)
    eos = text_config.eos_token_id if eos is None else eos
    context = getattr(text_config, "max_position_embeddings", None)
    return Loaded(
        module=module,
        context=context if isinstance(context, int) and context > 0 else None,
        vocab_size=int(text_config.vocab_size),
        eos_ids=frozenset([eos] if isinstance(eos, int) else eos or ()),
        batched=can_batch(module, context),
    )


def can_batch(module: Any, context: int | None) -> bool:
    """Whether the family takes our mask and cache, and then answers as it does alone. Sets its attention if so."""
    if not (getattr(module, "_supports_sdpa", False) and getattr(module, "_supports_attention_backend", True)):
        return False
    before = module.config._attn_implementation
    try:
        module.set_attn_implementation(ATTENTION)
        if module.config._attn_implementation == ATTENTION and probe(module, context):
            return True
    except (NotImplementedError, TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError):
        pass  # whatever a family stumbles over, it can still be run as it comes
    module.set_attn_implementation(before)
    return False


@torch.inference_mode()
def probe(module: Any, context: int | None) -> bool:
    """Compare three short sequences, batched over two steps, with the family's own forward of each."""
    longest = min(12, context or 12)
    if longest < 4:
        return False
    vocab = int(module.config.get_text_config().vocab_size)
    device = next(module.parameters()).device
    texts = [
        [(7 * i + 3 * row + 1) % vocab for i in range(length)] for row, length in enumerate((longest, 3, longest - 1))
    ]
    executor = SlotExecutor(module, max_rows=3, max_tokens=longest)
    # the first is fed in two chunks, then all three decode their last token together
    executor.forward([Chunk(0, tuple(texts[0][:2]), 0), *(Chunk(r, tuple(texts[r][:-1]), 0) for r in (1, 2))])
    executor.forward([Chunk(0, tuple(texts[0][2:-1]), 2)])
    together = executor.forward([Chunk(row, (text[-1],), len(text) - 1) for row, text in enumerate(texts)])
    for text, logits in zip(texts, together, strict=True):
        alone = module(input_ids=torch.tensor([text], device=device), use_cache=False).logits[0, -1].float()
        spread = float(alone.std()) or 1.0
        if not float((logits[0] - alone).abs().max()) <= PROBE_TOLERANCE[next(module.parameters()).dtype] * spread:
            return False
    return True
