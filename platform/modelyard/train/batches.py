"""A worker's share of a global batch, cut into micro-steps. Legend: B rows, L positions.

Every rank runs the same number of micro-steps, whatever its share: collectives stay in step. An empty share is one
row whose labels are all ignored; it weighs nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from modelyard.data import IGNORED, Rows

MICRO_TOKENS = 16_384  # positions per micro-step unless the manifest says otherwise; chosen by feel


@dataclass(frozen=True)
class MicroBatch:
    """int64 tensors [B, L] on the training device."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    position_ids: torch.Tensor
    segment_ids: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """What one rank trains on in one step; `num_labels` are its tokens with a loss, in all its micro-steps."""

    micro_batches: tuple[MicroBatch, ...]
    num_labels: int
    rows: Rows

    def __iter__(self) -> Iterator[MicroBatch]:
        return iter(self.micro_batches)


def num_micro_steps(rows_per_step: int, world: int, sequence_length: int, micro_rows: int | None = None) -> int:
    """How many micro-steps every rank runs: enough for the largest share at `micro_rows` rows each."""
    largest = math.ceil(rows_per_step / world)
    at_once = micro_rows or max(1, MICRO_TOKENS // sequence_length)
    return math.ceil(largest / at_once)


def make_batch(rows: Rows, micro_steps: int, device: torch.device) -> Batch:
    """Cut a rank's rows into `micro_steps` nearly equal parts."""
    num_rows = rows.input_ids.shape[0]
    cuts = [num_rows * i // micro_steps for i in range(micro_steps + 1)]
    parts = tuple(_part(rows, a, b, device) for a, b in pairwise(cuts))
    return Batch(parts, int((rows.labels != IGNORED).sum()), rows)


def chance_seed(seed: int, step: int, rank: int, micro_step: int) -> int:
    """The seed of every random draw of a micro-step (dropout): a function of these four alone."""
    text = f"{seed}/{step}/{rank}/{micro_step}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _part(rows: Rows, start: int, stop: int, device: torch.device) -> MicroBatch:
    if start == stop:
        length = rows.input_ids.shape[1]
        zeros = torch.zeros((1, length), dtype=torch.int64, device=device)
        positions = torch.arange(length, device=device)[None]
        return MicroBatch(zeros, torch.full_like(zeros, IGNORED), positions, zeros)
    return MicroBatch(
        *(
            torch.from_numpy(np.ascontiguousarray(array[start:stop])).to(device)
            for array in (rows.input_ids, rows.labels, rows.position_ids, rows.segment_ids)
        )
    )
