"""The loss on `data.validation` while training, shared out over the workers.

Each of its tokens counts once; of a large split those of documents drawn from all of it, the same at every step and in
every run on that dataset.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from modelyard.data import IGNORED, Loader, Rows, Split
from modelyard.train.batches import Batch, make_batch
from modelyard.train.group import WorkerGroup
from modelyard.train.loop import Engine
from modelyard.train.objectives import Objective

LARGEST_TOKENS = 262_144  # positions looked at; of a larger split a sample of that size. Chosen by feel


class Validation:
    """Validation rows in steps of `rows_at_once` over all workers."""

    def __init__(
        self, split: Split, *, sequence_length: int, packing: bool, rows_at_once: int, micro_steps: int,
        group: WorkerGroup, device: torch.device,
    ) -> None:  # fmt: skip
        # shuffled, so that the first rows are a sample of all sources; by a seed of its own, so that runs compare
        self._loader = Loader(
            split, sequence_length=sequence_length, seed=0, rows_per_step=rows_at_once, packing=packing
        )
        self._rows = min(self._loader.num_rows(0), max(1, LARGEST_TOKENS // sequence_length))
        self._rows_at_once = rows_at_once
        self._micro_steps = micro_steps
        self._group = group
        self._device = device

    def loss(self, objective: Objective, engine: Engine, train_mode: Callable[[bool], object]) -> float:
        """Nats per token, over all workers' rows; every rank calls."""
        loss_sum, labels = 0.0, 0
        train_mode(False)
        with torch.no_grad():
            for step in range(math.ceil(self._rows / self._rows_at_once)):
                batch = self._batch(step)
                loss_sum += sum(float(objective.loss_sum(engine, part)) for part in batch)
                labels += batch.num_labels
        train_mode(True)
        total, count = self._group.total(loss_sum, labels)
        return total / max(count, 1.0)

    def _batch(self, step: int) -> Batch:
        rank, world = self._group.rank, self._group.world
        rows = self._loader.rows(step, rank, world)
        first = step * self._rows_at_once + rank * self._rows_at_once // world
        keep = max(0, min(len(rows.labels), self._rows - first))  # the last step goes on into the next epoch
        return make_batch(_cut(rows, keep), self._micro_steps, self._device)


def _cut(rows: Rows, keep: int) -> Rows:
    if keep == len(rows.labels):
        return rows
    labels = np.array(rows.labels)
    labels[keep:] = IGNORED
    return Rows(rows.input_ids, labels, rows.position_ids, rows.segment_ids, rows.documents)
