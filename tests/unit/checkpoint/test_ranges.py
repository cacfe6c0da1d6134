from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.checkpoint.ranges import MASTER, Range, coverage_faults, model_faults, parse_key, summary
from modelyard.records import TensorRecord


def tensor(name: str, *shape: int, kind: str = MASTER, aliases: tuple[str, ...] = ()) -> TensorRecord:
    return TensorRecord(name=name, kind=kind, shape=shape, dtype="F32", aliases=aliases)


@given(st.text(min_size=1), st.integers(0, 10**12), st.integers(1, 10**9))
def test_any_name_survives_its_key(name: str, start: int, size: int) -> None:
    wanted = Range(name, "exp_avg", start, start + size)
    assert parse_key(wanted.key) == wanted


@pytest.mark.parametrize(
    "key", ["", "a", "a:master", "a:master[0]", "a:master[0:x]", "a:master[-1:2]", ":master[0:1]", "a:[0:1]"]
)
def test_what_is_no_key_is_none(key: str) -> None:
    assert parse_key(key) is None


@given(st.integers(1, 60), st.sets(st.integers(1, 59)), st.data())
def test_ranges_cut_anywhere_and_in_any_order_are_whole_and_no_piece_can_go(
    size: int, cuts: set[int], data: st.DataObject
) -> None:
    at = [0, *sorted(cut for cut in cuts if cut < size), size]
    ranges = data.draw(st.permutations([Range("w", MASTER, a, b) for a, b in itertools.pairwise(at)]))
    assert coverage_faults([tensor("w", size)], [], ranges) == []
    lost = data.draw(st.sampled_from(ranges))
    [fault] = coverage_faults([tensor("w", size)], [], [r for r in ranges if r != lost])
    assert f"[{lost.start}:" in fault
    assert "lacks" in fault
    assert "twice" in coverage_faults([tensor("w", size)], [], [*ranges, lost])[0]


STATE = Range("w", "exp_avg", 0, 6)
CASES = {
    "whole": ([Range("w", MASTER, 0, 6), STATE], None),
    "no optimizer state": ([Range("w", MASTER, 0, 6)], "w: exp_avg lacks elements [0:6] of 6"),
    "hole": ([Range("w", MASTER, 0, 2), Range("w", MASTER, 3, 6), STATE], "w: master lacks elements [2:3]"),
    "overlap": ([Range("w", MASTER, 0, 4), Range("w", MASTER, 3, 6), STATE], "elements [3:4] twice"),
    "too long": ([Range("w", MASTER, 0, 7), STATE], "goes up to 7, but the tensor has 6"),
    "empty range": ([Range("w", MASTER, 0, 0), STATE], "empty range"),
    "stranger": ([Range("w", MASTER, 0, 6), STATE, Range("v", MASTER, 0, 1)], "v: master is there, but belongs to no"),
    "strange state": ([Range("w", MASTER, 0, 6), STATE, Range("w", "trace", 0, 6)], "w: trace is there"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_coverage(case: str) -> None:
    ranges, fault = CASES[case]
    found = coverage_faults([tensor("w", 2, 3)], ["exp_avg"], ranges)
    if fault is None:
        assert found == []
    else:
        assert any(fault in words for words in found), found


def test_a_tensor_without_elements_needs_no_ranges() -> None:
    assert coverage_faults([tensor("w", 0, 3)], ["exp_avg"], []) == []


def test_models_are_compared_both_ways() -> None:
    saved = [
        tensor("same", 2),
        tensor("gone", 1),
        tensor("wide", 4, 2),
        tensor("role", 1),
        tensor("tied", 3, aliases=("head",)),
    ]
    model = [
        tensor("same", 2),
        tensor("new", 1),
        tensor("wide", 4, 3),
        tensor("role", 1, kind="frozen"),
        tensor("tied", 3),
    ]
    assert model_faults(saved, model) == [
        "gone: in the checkpoint, not in the model",
        "new: in the model, not in the checkpoint",
        "role: trained in the checkpoint, frozen in the model",
        "tied: tied to head in the checkpoint, to nothing in the model",
        "wide: shape 4x2 in the checkpoint, 4x3 in the model",
    ]
    assert model_faults(saved, saved) == []


def test_a_summary_tells_how_many_more() -> None:
    assert summary([f"f{i}" for i in range(15)]).endswith("f11; and 3 more")
