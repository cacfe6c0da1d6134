"""What a model learns: from a micro-batch to a summed loss. The loop divides by the global count of tokens."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.nn import functional

from modelyard.data import IGNORED
from modelyard.errors import InvalidInputError
from modelyard.model import check_packing, forward_inputs, takes_positions
from modelyard.train.batches import MicroBatch


class Objective(Protocol):
    """A loss over micro-batches."""

    def loss_sum(self, model: Any, batch: MicroBatch) -> torch.Tensor:
        """The loss summed over the micro-batch's labels: a float32 scalar with a graph. `model` is called."""
        ...


class CausalLm:
    """Next-token prediction; labels are shifted by the loader already."""

    def __init__(self, module: torch.nn.Module, *, packing: bool) -> None:
        check_packing(module, packing=packing)
        self._takes_positions = takes_positions(module)

    def loss_sum(self, model: Any, batch: MicroBatch) -> torch.Tensor:
        inputs = forward_inputs(self._takes_positions, batch.input_ids, batch.position_ids, batch.segment_ids)
        logits_blv = model(**inputs).logits
        return functional.cross_entropy(
            logits_blv.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )


def open_objective(name: str, module: torch.nn.Module, *, packing: bool) -> Objective:
    """The objective of a manifest for this module."""
    if name == "causal-lm":
        return CausalLm(module, packing=packing)
    raise InvalidInputError(f"spec.objective: {name!r} is not implemented yet", hint="use causal-lm")
