"""Prepared splits on disk: token shards (`.bin`) and an index in NumPy arrays, written once, then memory-mapped.

A split's folder holds shard-00000.bin … (little-endian uint16, or uint32 for vocabularies beyond 65536: documents'
tokens end to end, no special tokens, a document never in two shards), lengths, textBytes, sources, digests and
labelCounts as .npy, and index.json. The same documents give the same bytes.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from modelyard.errors import IntegrityError, NewerLayoutError, NotFoundError
from modelyard.text import Tokenizer

SCHEMA = 1
SHARD_TOKENS = 1 << 28  # half a GiB of uint16
Ids = npt.NDArray[np.int64]


class SplitWriter:
    """Appends tokenised documents to a new split folder; `finish` writes the index. Holds 50 bytes a document."""

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, source_names: Sequence[str], *, shard_tokens: int = SHARD_TOKENS
    ) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._tokenizer = tokenizer
        self._source_names = list(source_names)
        self._shard_tokens = shard_tokens
        self._dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
        self._lengths, self._text_bytes, self._sources = array("q"), array("q"), array("H")
        self._digests = bytearray()
        self._label_counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        self._shards: list[int] = []
        self._file: BinaryIO | None = None

    def add(self, ids: Sequence[int] | npt.NDArray[Any], *, source: int, text_bytes: int, digest: bytes) -> None:
        """Append a document: its token ids (at least one), the index of its source, sha256 of its text."""
        if self._file is None or (self._shards[-1] and self._shards[-1] + len(ids) > self._shard_tokens):
            self._next_shard()
        assert self._file is not None
        assert len(ids)
        tokens = np.asarray(ids, dtype=self._dtype)
        self._file.write(tokens.tobytes())
        self._shards[-1] += len(ids)
        self._lengths.append(len(ids))
        self._text_bytes.append(text_bytes)
        self._sources.append(source)
        self._digests += digest
        np.add.at(self._label_counts, tokens, 1)

    def finish(self) -> None:
        """Close the shards and write the index."""
        if self._file is not None:
            self._file.close()
        documents = len(self._lengths)
        self._label_counts[self._tokenizer.eos_id] += documents
        arrays: dict[str, npt.NDArray[Any]] = {
            "lengths": np.frombuffer(self._lengths, dtype=np.int64),
            "textBytes": np.frombuffer(self._text_bytes, dtype=np.int64),
            "sources": np.frombuffer(self._sources, dtype=np.uint16),
            "digests": np.frombuffer(self._digests, dtype=np.uint8).reshape(documents, 32),
            "labelCounts": self._label_counts,
        }
        for name, values in arrays.items():
            np.save(self._folder / f"{name}.npy", values, allow_pickle=False)
        index = {
            "schema": SCHEMA,
            "dtype": self._dtype.str,
            "vocabSize": self._tokenizer.vocab_size,
            "bosId": self._tokenizer.bos_id,
            "eosId": self._tokenizer.eos_id,
            "padId": self._tokenizer.pad_id,
            "sources": self._source_names,
            "documents": documents,
            "shards": self._shards,
        }
        (self._folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    def _next_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = (self._folder / shard_name(len(self._shards))).open("wb")
        self._shards.append(0)


def shard_name(number: int) -> str:
    """The file of shard `number`."""
    return f"shard-{number:05d}.bin"


@dataclass(frozen=True, eq=False)
class Split:
    """An opened split. Its arrays, by document, and its tokens are memory-mapped: processes of a machine share them.

    Opening reads the lengths and keeps 8 bytes a document: where each begins.
    """

    folder: Path
    source_names: tuple[str, ...]
    vocab_size: int
    bos_id: int
    eos_id: int
    pad_id: int
    lengths: Ids = field(repr=False)
    source_ids: npt.NDArray[np.uint16] = field(repr=False)
    _text_bytes: Ids = field(repr=False)
    _digests: npt.NDArray[np.uint8] = field(repr=False)
    _shards: tuple[npt.NDArray[Any], ...] = field(repr=False)

    @property
    def documents(self) -> int:
        """Their number."""
        return len(self.lengths)

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents, special tokens not counted."""
        return int(self._starts[-1])

    def tokens(self, document: int) -> npt.NDArray[Any]:
        """The document's token ids (uint16 or uint32, a view of the mapped file), without begin and end."""
        start = self._starts[document]
        shard = int(np.searchsorted(self._shard_starts, start, side="right")) - 1
        first = int(start - self._shard_starts[shard])
        return self._shards[shard][first : first + int(self.lengths[document])]

    def text_bytes(self, document: int) -> int:
        """UTF-8 bytes of the document's text."""
        return int(self._text_bytes[document])

    @property
    def digests(self) -> npt.NDArray[np.uint8]:
        """sha256 of every text: uint8 [documents, 32]."""
        return self._digests

    def label_counts(self) -> Ids:
        """How often each id is a label in one pass: all tokens, and one end a document. int64 [vocab]."""
        counts: Ids = _load(self.folder, "labelCounts")
        return counts

    @cached_property
    def _starts(self) -> Ids:
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.lengths, dtype=np.int64)])

    @cached_property
    def _shard_starts(self) -> Ids:
        sizes = np.array([len(shard) for shard in self._shards[:-1]], dtype=np.int64)
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])


def open_split(folder: Path, split: str) -> Split:
    """Open `train` or `validation` of a dataset folder.

    Raises NotFoundError when the dataset has no such split, IntegrityError naming a file that is not as recorded.
    """
    here = folder / split
    path = here / "index.json"
    if not path.is_file():
        raise NotFoundError(f"the dataset {folder} has no {split} split")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["schema"] > SCHEMA:
            raise NewerLayoutError(f"{path} has schema {index['schema']}; this Modelyard reads up to {SCHEMA}")
        dtype = np.dtype(index["dtype"])
        shards = tuple(_map(here / shard_name(number), dtype, size) for number, size in enumerate(index["shards"]))
        opened = Split(
            folder=here,
            source_names=tuple(index["sources"]),
            vocab_size=index["vocabSize"],
            bos_id=index["bosId"],
            eos_id=index["eosId"],
            pad_id=index["padId"],
            lengths=_load(here, "lengths"),
            source_ids=_load(here, "sources"),
            _text_bytes=_load(here, "textBytes"),
            _digests=_load(here, "digests"),
            _shards=shards,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is not a split's index: {error!r}") from error
    if opened.documents != index["documents"] or opened.num_tokens != sum(index["shards"]):
        raise IntegrityError(f"{here / 'lengths.npy'} does not agree with {path}")
    return opened


def _map(path: Path, dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
    found = path.stat().st_size if path.is_file() else None
    if found != size * dtype.itemsize:
        raise IntegrityError(f"{path} has {found} bytes; its index says {size * dtype.itemsize}")
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def _load(folder: Path, name: str) -> npt.NDArray[Any]:
    path = folder / f"{name}.npy"
    try:
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    return np.asarray(mapped)
