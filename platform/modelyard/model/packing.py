"""Rows of several documents through a model, without attention from one document to another.

transformers (since 4.50) reads packed rows off position_ids that restart, and builds the block-diagonal mask for
full, sliding and chunked layers alike, when no attention mask and no cache are given. Families that do not take
position_ids are refused rather than left to attend across documents.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from modelyard.errors import InvalidInputError


def takes_positions(module: torch.nn.Module) -> bool:
    """Whether the family's forward takes position_ids."""
    return "position_ids" in inspect.signature(module.forward).parameters


def check_packing(module: torch.nn.Module, *, packing: bool) -> None:
    """Refuse to pack documents for a family that would let them see each other."""
    if packing and not takes_positions(module):
        raise InvalidInputError(
            f"{type(module).__name__} takes no position_ids: packed documents would see each other",
            hint="set spec.data.packing: false",
        )


def forward_inputs(
    module_takes_positions: bool, input_ids: torch.Tensor, position_ids: torch.Tensor, segment_ids: torch.Tensor
) -> dict[str, Any]:
    """The keyword arguments of a forward pass over rows [B, L].

    Where every row holds one segment (and padding at its end, whose labels are ignored), plain causal attention
    sees nothing it must not: then no positions are given and the model takes its fastest path.
    """
    inputs: dict[str, Any] = {"input_ids": input_ids, "use_cache": False}
    if module_takes_positions and bool((segment_ids > 0).any()):
        inputs["position_ids"] = position_ids
    return inputs
