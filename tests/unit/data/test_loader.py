"""The loader's promises: each token a label exactly once a pass, order by (seed, step) alone, no attention across."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data import IGNORED, Loader, Rows, Split
from modelyard.errors import BadDataError, InvalidInputError
from support.datasets import memory_split

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=25)
sizes = st.integers(1, 17)
EOS, BOS, PAD = 2, 1, 3


def loader(split: Split, length: int, rows: int, *, seed: int = 5, **options: object) -> Loader:
    return Loader(split, sequence_length=length, seed=seed, rows_per_step=rows, **options)  # type: ignore[arg-type]


def labels_of(split: Split, epochs: int, made: Loader) -> Counter[tuple[int, int]]:
    """How often each prediction (document, number within it) is a label in the first epochs, read off the tokens."""
    rows = sum(made.num_rows(epoch) for epoch in range(epochs))
    whole = made._fill(0, rows)  # the rows of exactly these epochs
    owner = {
        int(token): (document, at)
        for document in range(split.documents)
        for at, token in enumerate(split.tokens(document))
    }
    seen: Counter[tuple[int, int]] = Counter()
    for inputs, labels in zip(whole.input_ids.ravel().tolist(), whole.labels.ravel().tolist(), strict=True):
        if labels == EOS:
            document, at = owner[inputs]
            seen[document, at + 1] += 1
        elif labels != IGNORED:
            seen[owner[labels]] += 1
            assert inputs == BOS if owner[labels][1] == 0 else owner[inputs][0] == owner[labels][0]
    return seen


def every_prediction(split: Split, times: int = 1) -> dict[tuple[int, int], int]:
    return {
        (document, at): times for document in range(split.documents) for at in range(int(split.lengths[document]) + 1)
    }


@given(lengths, sizes, sizes, st.integers(0, 2**31), st.integers(1, 3))
def test_each_token_and_each_end_is_a_label_once_an_epoch(
    sizes_: list[int], length: int, rows: int, seed: int, epochs: int
) -> None:
    split = memory_split(sizes_)
    assert labels_of(split, epochs, loader(split, length, rows, seed=seed)) == every_prediction(split, epochs)


@given(lengths, st.tuples(sizes, sizes), st.integers(1, 7), st.integers(0, 40), st.booleans())
def test_the_ranks_shares_are_the_step(
    sizes_: list[int], shape: tuple[int, int], world: int, step: int, packing: bool
) -> None:
    rows, length = shape
    made = loader(memory_split(sizes_), length, rows, packing=packing)
    whole = made.rows(step)
    shares = [made.rows(step, rank, world) for rank in range(world)]
    for name in ("input_ids", "labels", "position_ids", "segment_ids"):
        assert np.array_equal(np.concatenate([getattr(share, name) for share in shares]), getattr(whole, name))
    assert whole.input_ids.shape == (rows, length)
    counts = [len(share.input_ids) for share in shares]
    assert max(counts) - min(counts) <= 1


@given(lengths, sizes, sizes, st.lists(st.integers(0, 30), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_step_is_the_same_whatever_was_read_before(
    sizes_: list[int], length: int, rows: int, steps: list[int]
) -> None:
    split = memory_split(sizes_)
    made = loader(split, length, rows, passes={"source-0": 0.7})
    for step in steps:
        fresh = loader(split, length, rows, passes={"source-0": 0.7}).rows(step)
        assert np.array_equal(made.rows(step).input_ids, fresh.input_ids)
        assert np.array_equal(made.rows(step).documents, fresh.documents)


@given(lengths, sizes, sizes, st.integers(1, 5))
def test_steps_follow_each_other_over_the_ends_of_epochs(sizes_: list[int], length: int, rows: int, other: int) -> None:
    """Batches of any size cut the same chain of rows."""
    split = memory_split(sizes_)
    one, two = loader(split, length, rows), loader(split, length, other)
    first = np.concatenate([one.rows(step).input_ids for step in range(other)])
    second = np.concatenate([two.rows(step).input_ids for step in range(rows)])
    assert np.array_equal(first, second)


def check_segments(rows: Rows, split: Split) -> None:
    """Ledger, positions, segments and tokens tell the same story."""
    for row in range(len(rows.input_ids)):
        ledger = rows.documents[rows.documents[:, 0] == row]
        at = 0
        for segment, (_, document, first, last, _) in enumerate(ledger.tolist()):
            here = slice(at, at + last - first)
            stream = [BOS, *split.tokens(document).tolist(), EOS]
            assert rows.input_ids[row, here].tolist() == stream[first:last]
            assert rows.labels[row, here].tolist() == stream[first + 1 : last + 1]
            assert rows.position_ids[row, here].tolist() == list(range(last - first))
            assert set(rows.segment_ids[row, here].tolist()) == {segment}
            at += last - first
        assert set(rows.labels[row, at:].tolist()) <= {IGNORED}
        assert set(rows.segment_ids[row, at:].tolist()) <= {-1}
        assert set(rows.input_ids[row, at:].tolist()) <= {PAD}


@given(lengths, sizes, sizes, st.integers(0, 30), st.booleans())
def test_segments_are_stretches_of_documents(
    sizes_: list[int], length: int, rows: int, step: int, packing: bool
) -> None:
    split = memory_split(sizes_)
    check_segments(loader(split, length, rows, packing=packing).rows(step), split)


@given(lengths, sizes)
def test_without_packing_a_row_is_a_document_cut_to_its_length(sizes_: list[int], length: int) -> None:
    split = memory_split(sizes_)
    made = loader(split, length, split.documents, packing=False)
    rows = made.rows(0)
    assert sorted(rows.documents[:, 1].tolist()) == list(range(split.documents))
    assert made.num_rows(0) == split.documents
    assert (rows.labels != IGNORED).sum() == sum(min(size + 1, length) for size in sizes_)


@pytest.mark.parametrize(
    ("passes", "epochs", "times"),
    [(0.5, 2, 1), (2.0, 1, 2), (0.25, 4, 1), (1.5, 2, 3), (0.1, 10, 1), (0.3, 10, 3), (3, 2, 6)],
)
def test_a_source_is_read_as_often_as_its_passes_say(passes: float, epochs: int, times: int) -> None:
    split = memory_split([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [0, 1] * 5 + [0], num_sources=2)
    seen = labels_of(split, epochs, loader(split, 8, 4, passes={"source-1": passes}))
    of_first = {key: epochs for key in every_prediction(split) if split.source_ids[key[0]] == 0}
    of_second = {key: times for key in every_prediction(split) if split.source_ids[key[0]] == 1}
    assert seen == {**of_first, **of_second}


def test_epochs_and_seeds_differ_in_order() -> None:
    split = memory_split([4] * 50)
    made, other = loader(split, 10, 25), loader(split, 10, 25, seed=6)
    assert made.num_rows(0) == 25
    orders = [tuple(each.documents[:, 1].tolist()) for each in (made.rows(0), made.rows(1), other.rows(0))]
    assert len(set(orders)) == 3


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [(1, 25, 1), (1, 10, 3), (2, 10, 5), (0.5, 1, 13), (0.01, 10, 1), (2.5, 1, 63), (1.6, 1, 40)],
)
def test_steps_for_epochs(epochs: float, rows: int, steps: int) -> None:
    assert loader(memory_split([4] * 50), 10, rows).steps_for(epochs) == steps


def test_the_ledger_tells_the_epoch_of_every_row() -> None:
    def epochs(made: Loader, steps: int) -> list[int]:
        ledgers = [made.rows(step).documents for step in range(steps)]
        return [ledger[ledger[:, 0] == row][0, 4] for ledger in ledgers for row in range(10)]

    assert epochs(loader(memory_split([4] * 50), 10, 10), 4) == [0] * 25 + [1] * 15
    uneven = loader(memory_split([4] * 50), 10, 10, passes={"source-0": 0.25})
    expected = [epoch for epoch in range(4) for _ in range(uneven.num_rows(epoch))]
    assert epochs(uneven, 2) == expected[:20]


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(BadDataError, match="no document"):
        loader(memory_split([]), 8, 8)
    with pytest.raises(BadDataError, match="no document"):
        loader(memory_split([3]), 8, 8, passes={"source-0": 0.0})
    with pytest.raises(InvalidInputError, match="holds nothing"):
        loader(memory_split([3]), 0, 8)
