from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from modelyard.checkpoint.fragments import DTYPES, Fragment, FragmentReader, read_header, write_file
from modelyard.checkpoint.ranges import Range
from modelyard.errors import IntegrityError
from modelyard.yard import digest_file


def fragment(name: str, values: torch.Tensor, start: int = 0, kind: str = "master") -> Fragment:
    return Fragment(Range(name, kind, start, start + len(values)), values)


def test_the_safetensors_library_reads_what_was_written(tmp_path: Path) -> None:
    values = {dtype: torch.arange(5).to(dtype) for dtype in DTYPES}
    file = write_file(tmp_path / "f.safetensors", [fragment(f"w.{DTYPES[d]}", v, 3) for d, v in values.items()])
    assert file.sha256 == digest_file(tmp_path / "f.safetensors")
    assert file.size_bytes == (tmp_path / "f.safetensors").stat().st_size
    with safe_open(tmp_path / "f.safetensors", framework="pt") as opened:
        assert opened.metadata()["format"] == "modelyard-fragments"
        for dtype, value in values.items():
            assert torch.equal(opened.get_tensor(f"w.{DTYPES[dtype]}:master[3:8]"), value)
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


def test_a_rank_without_fragments_writes_a_valid_file(tmp_path: Path) -> None:
    write_file(tmp_path / "f.safetensors", [])
    assert read_header(tmp_path / "f.safetensors") == []


def test_views_with_strides_and_devices_copies_are_written_as_they_are(tmp_path: Path) -> None:
    column = torch.arange(12.0).view(3, 4)[:, 1]
    write_file(tmp_path / "f.safetensors", [fragment("w", column)])
    with FragmentReader((tmp_path / "f.safetensors",)) as reader:
        assert reader.full("w", "master", (3,)).tolist() == [1.0, 5.0, 9.0]
        strided = torch.zeros(6)[::2]
        reader.read(fragment("w", strided))
        assert strided.tolist() == [1.0, 5.0, 9.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.lists(st.integers(1, 89), max_size=6), st.integers(1, 3), st.data())
def test_any_range_comes_back_out_of_any_cuts_in_any_files(
    tmp_path_factory: pytest.TempPathFactory, size: int, cuts: list[int], num_files: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    values = torch.randn(size).to(data.draw(st.sampled_from([torch.float32, torch.bfloat16])))
    at = [0, *sorted({cut for cut in cuts if cut < size}), size]
    pieces = [fragment("a.b:c", values[a:b], a) for a, b in itertools.pairwise(at)]
    for number in range(num_files):
        write_file(folder / f"{number}.safetensors", pieces[number::num_files])
    low = data.draw(st.integers(0, size - 1))
    high = data.draw(st.integers(low + 1, size))
    with FragmentReader(tuple(folder.iterdir())) as reader:
        out = torch.zeros(high - low, dtype=values.dtype)
        reader.read(fragment("a.b:c", out, low))
        assert torch.equal(out, values[low:high])
        with pytest.raises(IntegrityError, match="of 5 elements"):
            reader.read(fragment("a.b:c", torch.zeros(5, dtype=values.dtype), size))


def test_a_range_of_another_type_is_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "f.safetensors", [fragment("w", torch.zeros(4))])
    with FragmentReader((tmp_path / "f.safetensors",)) as reader, pytest.raises(IntegrityError, match="float32"):
        reader.read(fragment("w", torch.zeros(4, dtype=torch.bfloat16)))


@pytest.mark.parametrize("length", [0, 4, 8, 30, 60, -1])
def test_a_torn_file_is_refused_by_its_head(tmp_path: Path, length: int) -> None:
    path = tmp_path / "f.safetensors"
    write_file(path, [fragment("w", torch.ones(8))])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(IntegrityError, match=r"f\.safetensors"):
        read_header(path)


def header(entries: object, body: bytes = b"") -> bytes:
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + body


HEADS = {
    "no object": header([1]),
    "a huge length": struct.pack("<Q", 2**60) + b"{}",
    "a strange type": header({"w:master[0:1]": {"dtype": "F8", "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "a name without range": header({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "another shape": header({"w:master[0:2]": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "negative offsets": header({"w:master[0:1]": {"dtype": "U8", "shape": [1], "data_offsets": [-1, 0]}}),
    "a hole": header({"w:master[0:1]": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"xx"),
    "bytes after the end": header({"w:master[0:1]": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"xx"),
    "text": b"\x02\x00\x00\x00\x00\x00\x00\x00\xff\xfe",
}


@pytest.mark.parametrize("case", HEADS)
def test_a_head_that_lies_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "f.safetensors"
    path.write_bytes(HEADS[case])
    with pytest.raises(IntegrityError, match=r"f\.safetensors is not a fragment file"):
        read_header(path)


def test_a_file_cut_after_it_was_opened_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    write_file(path, [fragment("w", torch.ones(100_000))])
    with FragmentReader((path,)) as reader:
        with open(path, "r+b") as file:
            file.truncate(200_000)
        with pytest.raises(IntegrityError, match="ends"):
            reader.full("w", "master", (100_000,))
