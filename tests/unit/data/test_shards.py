"""Splits on disk: what was added is read back; what is not as recorded is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from modelyard.data import open_split
from modelyard.data.shards import SplitWriter
from modelyard.errors import IntegrityError, NewerLayoutError, NotFoundError
from modelyard.text import Tokenizer
from support.datasets import small_tokenizer

DOCUMENTS = [[5, 6, 7], [8], [9, 10], [11, 12, 13, 14, 15, 16], [5]]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    writer = SplitWriter(tmp_path / "train", tokenizer, ["one", "two"], shard_tokens=4)
    for number, ids in enumerate(DOCUMENTS):
        digest = hashlib.sha256(bytes([number])).digest()
        writer.add(ids, source=number % 2, text_bytes=10 + number, digest=digest)
    writer.finish()
    return tmp_path


def test_documents_are_read_back(folder: Path) -> None:
    split = open_split(folder, "train")
    assert split.documents == len(DOCUMENTS)
    assert [split.tokens(number).tolist() for number in range(split.documents)] == DOCUMENTS
    assert split.tokens(0).dtype == np.uint16
    assert [split.source_names[number] for number in split.source_ids[:3]] == ["one", "two", "one"]
    assert split.text_bytes(4) == 14
    assert split.digests[2].tobytes() == hashlib.sha256(bytes([2])).digest()
    assert split.num_tokens == 13


def test_what_is_kept_by_document_is_mapped_not_read(folder: Path) -> None:
    split = open_split(folder, "train")
    for values in (split.lengths, split.source_ids, split.digests, split.label_counts(), split.tokens(0)):
        assert not values.flags.writeable  # and so shared by all processes that open it


def test_a_document_lies_in_one_shard_of_bounded_size(folder: Path) -> None:
    sizes = [path.stat().st_size // 2 for path in sorted((folder / "train").glob("*.bin"))]
    assert sizes == [4, 2, 6, 1]


def test_labels_are_counted_with_one_end_a_document(folder: Path, tokenizer: Tokenizer) -> None:
    counts = open_split(folder, "train").label_counts()
    assert counts[tokenizer.eos_id] == len(DOCUMENTS)
    assert (counts[5], counts[16]) == (2, 1)
    assert counts.sum() == 13 + 5


def test_a_large_vocabulary_takes_four_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    import dataclasses

    large = dataclasses.replace(tokenizer, vocab_size=70_000)
    writer = SplitWriter(tmp_path / "train", large, ["one"])
    writer.add([69_999], source=0, text_bytes=1, digest=bytes(32))
    writer.finish()
    split = open_split(tmp_path, "train")
    assert split.tokens(0).dtype == np.uint32
    assert split.tokens(0).tolist() == [69_999]


def test_a_split_without_documents_opens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    SplitWriter(tmp_path / "train", tokenizer, ["one"]).finish()
    split = open_split(tmp_path, "train")
    assert (split.documents, split.num_tokens) == (0, 0)


def test_without_the_split_it_says_so(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no validation split"):
        open_split(folder, "validation")


def test_a_short_or_missing_file_is_named(folder: Path) -> None:
    shard = folder / "train" / "shard-00001.bin"
    shard.write_bytes(b"\0")
    with pytest.raises(IntegrityError, match=r"shard-00001\.bin has 1 bytes"):
        open_split(folder, "train")
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"shard-00001\.bin"):
        open_split(folder, "train")


def test_pickled_arrays_are_refused(folder: Path) -> None:
    np.save(folder / "train" / "lengths.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(IntegrityError, match=r"lengths\.npy"):
        open_split(folder, "train")


@pytest.mark.parametrize(
    ("change", "error"), [({"schema": 2}, NewerLayoutError), ({"documents": 4}, IntegrityError)], ids=str
)
def test_an_index_of_another_kind_is_refused(folder: Path, change: dict[str, int], error: type[Exception]) -> None:
    path = folder / "train" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(error):
        open_split(folder, "train")


def test_a_broken_index_is_an_integrity_error(folder: Path) -> None:
    (folder / "train" / "index.json").write_text('{"schema": 1}')
    with pytest.raises(IntegrityError, match=r"index\.json"):
        open_split(folder, "train")
