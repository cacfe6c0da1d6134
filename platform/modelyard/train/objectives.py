"""What a model learns: from a micro-batch to a summed loss. The loop divides by the global count of tokens."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.nn import functional

from modelyard.data import IGNORED
from modelyard.errors import InvalidInputError
from modelyard.model import check_packing, forward_inputs, plain_head, takes_positions
from modelyard.train.batches import MicroBatch


class Objective(Protocol):
    """A loss over micro-batches."""

    def loss_sum(self, model: Any, batch: MicroBatch) -> torch.Tensor:
        """The loss summed over the micro-batch's labels: a float32 scalar with a graph. `model` is called."""
        ...


class CausalLm:
    """Next-token prediction; labels are shifted by the loader already.

    Where the family allows, the loss is taken chunk by chunk from the last hidden states: the logits of all positions
    (4 bytes x tokens x vocabulary, often more than the model itself) are never there at once, and on a CPU a chunk
    stays in the cache. Not at ZeRO stage 3, where the head's weight is not at hand outside its own forward; not in
    bf16, in which torch would sum the loss too (an error of 3e-4, seen).
    """

    def __init__(self, module: torch.nn.Module, *, packing: bool) -> None:
        check_packing(module, packing=packing)
        self._takes_positions = takes_positions(module)
        self._head = plain_head(module)

    def loss_sum(self, model: Any, batch: MicroBatch) -> torch.Tensor:
        inputs = forward_inputs(self._takes_positions, batch.input_ids, batch.position_ids, batch.segment_ids)
        labels = batch.labels.flatten()
        if self._head is None or not _is_whole_fp32(self._head.weight):
            logits_nv = model(**inputs).logits.float().flatten(0, 1)
            return functional.cross_entropy(logits_nv, labels, ignore_index=IGNORED, reduction="sum")
        hidden_nd = model(**inputs, output_hidden_states=True, logits_to_keep=1).hidden_states[-1].flatten(0, 1)
        return functional.linear_cross_entropy(
            hidden_nd, self._head.weight, labels, linear_bias=self._head.bias, ignore_index=IGNORED, reduction="sum",
            options=_chunks(self._head),
        )  # fmt: skip


def _is_whole_fp32(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and not hasattr(weight, "ds_id")  # stage 3 marks what it has cut up


def _chunks(head: torch.nn.Linear) -> torch.nn.LinearCrossEntropyOptions:
    """On a GPU torch's own choice; on a CPU chunks whose logits stay in the last cache (measured: 8 MB)."""
    if head.weight.is_cuda:
        return torch.nn.LinearCrossEntropyOptions()
    return torch.nn.LinearCrossEntropyOptions(batch_chunk_size=max(32, (1 << 21) // head.out_features))


def open_objective(name: str, module: torch.nn.Module, *, packing: bool) -> Objective:
    """The objective of a manifest for this module."""
    if name == "causal-lm":
        return CausalLm(module, packing=packing)
    raise InvalidInputError(f"spec.objective: {name!r} is not implemented yet", hint="use causal-lm")
