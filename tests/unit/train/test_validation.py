"""Which tokens the loss on the validation split is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from modelyard.data import IGNORED, Split
from modelyard.train import validation
from modelyard.train.batches import MicroBatch
from support.datasets import memory_split

LENGTH, END = 10, 2


class Seen:
    """An objective that notes the labels it is asked for; each weighs one."""

    def __init__(self) -> None:
        self.labels: list[int] = []

    def loss_sum(self, engine: object, part: MicroBatch) -> torch.Tensor:
        here = part.labels[part.labels != IGNORED].tolist()
        self.labels += here
        return torch.tensor(float(len(here)))


def measured(split: Split, *, rows_at_once: int = 4, world: int = 1) -> list[int]:
    """Labels that all ranks together look at."""
    seen = Seen()
    for rank in range(world):
        group = SimpleNamespace(rank=rank, world=world, total=lambda *values: values)
        made = validation.Validation(
            split, sequence_length=LENGTH, packing=True, rows_at_once=rows_at_once, micro_steps=2,
            group=cast(Any, group), device=torch.device("cpu"),
        )  # fmt: skip
        assert made.loss(cast(Any, seen), cast(Any, None), lambda _: None) == 1.0
    return sorted(seen.labels)


@pytest.mark.parametrize(("rows_at_once", "world"), [(4, 1), (7, 1), (8, 2), (6, 3)])
def test_of_a_small_split_each_token_counts_once(rows_at_once: int, world: int) -> None:
    split = memory_split([3, 14, 1, 25, 7])
    assert measured(split, rows_at_once=rows_at_once, world=world) == [END] * 5 + list(range(10, 60))


def test_of_a_large_split_a_sample_of_all_sources_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "LARGEST_TOKENS", 40 * LENGTH)
    split = memory_split([9] * 200, [0] * 100 + [1] * 100, num_sources=2)
    labels = measured(split)
    assert len(labels) == 40 * LENGTH
    of_second = sum(label >= 10 + 900 for label in labels) / (9 * 40)
    assert 0.3 < of_second < 0.7
    assert measured(split, rows_at_once=6, world=3) == labels  # whatever the batch and the workers
