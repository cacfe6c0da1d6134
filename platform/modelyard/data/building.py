"""Inputs read, counted, tokenised and written as the two splits of a dataset."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import numpy.typing as npt

from modelyard.data.documents import HARMLESS, BadRecord, Document, read_file
from modelyard.data.inputs import Input, Progress, changed
from modelyard.data.shards import SplitWriter, open_split
from modelyard.errors import BadDataError
from modelyard.records import SourceRecord
from modelyard.text import Tokenizer

if TYPE_CHECKING:
    from modelyard.spec import DataSpec

# Documents are tokenised together up to these bounds: enough to be fast, little enough to hold (100 bytes a token).
BATCH_DOCUMENTS = 512
BATCH_CHARACTERS = 1 << 20
NAMED_FAULTS = 5


@dataclass
class _Tally:
    """What became of a source's records in one split."""

    records: int = 0
    documents: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    text_bytes: int = 0
    tokens: int = 0
    first_faults: list[BadRecord] = field(default_factory=list)

    def exclude(self, bad: BadRecord) -> None:
        """Count a record that is not used (it was counted as a record before)."""
        self.excluded[bad.reason] += 1
        if bad.reason not in HARMLESS and len(self.first_faults) < NAMED_FAULTS:
            self.first_faults.append(bad)


def training_texts(inputs: tuple[Input, ...], data: DataSpec, progress: Progress) -> Iterator[str]:
    """Texts of the training split, in order: what a tokenizer is trained on. Raises BadDataError as `build` does."""
    training = [each for each in inputs if each.split == "train"]
    reader = _Reader(training, data, "training the tokenizer", progress)
    for each in training:
        tally = _Tally()
        for item in reader.read(each, tally):
            if isinstance(item, Document) and _split_of(each, _digest(item.text), data) == "train":
                yield item.text


def build(
    inputs: tuple[Input, ...], data: DataSpec, tokenizer: Tokenizer, folder: Path, progress: Progress
) -> tuple[tuple[SourceRecord, ...], int]:
    """Write train/, validation/ (when the job has one) and excluded.jsonl into `folder`.

    Returns the sources' counts, which add up, and how many validation documents' texts stand in train too.
    Raises BadDataError above `maxBadFraction`, for a split without documents, and for a file that changed.
    """
    fraction = data.validation.fraction
    names = {
        "train": [each.source.name for each in inputs if each.split == "train"],
        "validation": [each.source.name for each in inputs if each.split == "validation" or fraction],
    }
    writers = {split: SplitWriter(folder / split, tokenizer, listed) for split, listed in names.items() if listed}
    reader = _Reader(inputs, data, "tokenising", progress)
    records: list[SourceRecord] = []
    with (folder / "excluded.jsonl").open("w", encoding="utf-8") as excluded:
        writing = _Writing(data, tokenizer, names, writers, excluded)
        for each in inputs:
            tallies = {each.split: _Tally(), **({"validation": _Tally()} if fraction and each.split == "train" else {})}
            for batch in _batches(reader.read(each, tallies[each.split], excluded)):
                writing.write(batch, each, tallies)
            records += [_record(each, split, tally) for split, tally in tallies.items()]
    for split, writer in writers.items():
        writer.finish()
        if not any(record.documents for record in records if record.split == split):
            raise BadDataError(
                f"no document is left for {split}: {_counts(records, split)}",
                hint="raise data.validation.fraction, add documents, or name data.validation.sources"
                if fraction and split == "validation"
                else "name sources with text",
            )
    return tuple(records), _shared(folder) if "validation" in writers else 0


class _Reader:
    """Reads inputs once, shows how far it is, and checks each file's digest and each source's share of bad records."""

    def __init__(self, inputs: tuple[Input, ...] | list[Input], data: DataSpec, what: str, progress: Progress) -> None:
        self._data = data
        self._what = what
        self._progress = progress
        self._total = sum(file.size_bytes for each in inputs for file in each.files)
        self._done = 0

    def read(self, each: Input, tally: _Tally, excluded: TextIO | None = None) -> Iterator[Document]:
        """Documents of one source; bad records are counted and, when `excluded` is given, listed there."""
        num_read = 0  # `tally.records` is of a split: validation's share is taken off it while this goes on
        for file, digest in zip(each.files, each.digests, strict=True):
            hasher = hashlib.sha256()

            def on_raw(chunk: bytes, hasher: hashlib._Hash = hasher) -> None:
                hasher.update(chunk)
                self._done += len(chunk)
                self._progress(self._what, self._done, self._total)

            column, limit = each.source.columns.text, self._data.max_record_bytes
            for item in read_file(file, text_column=column, max_record_bytes=limit, on_raw=on_raw):
                num_read += 1
                tally.records += 1
                if isinstance(item, Document):
                    yield item
                else:
                    tally.exclude(item)
                    _list_excluded(excluded, each, item)
            if f"sha256:{hasher.hexdigest()}" != digest:
                raise changed(file)
        _check_fraction(each, tally, num_read, self._data.max_bad_fraction)


def _list_excluded(excluded: TextIO | None, each: Input, bad: BadRecord) -> None:
    """One line of excluded.jsonl: where the record stood and why it is not used."""
    if excluded is not None:
        row = {"split": each.split, "source": each.source.name, "file": bad.file, "line": bad.line}
        row |= {"reason": bad.reason, "excerpt": bad.excerpt}
        # an excerpt may hold anything, lone surrogates too: ASCII escapes carry all of it
        excluded.write(json.dumps(row) + "\n")


def _check_fraction(each: Input, tally: _Tally, num_read: int, allowed: float) -> None:
    malformed = sum(count for reason, count in tally.excluded.items() if reason not in HARMLESS)
    if malformed > allowed * num_read:
        named = "; ".join(map(str, tally.first_faults))
        more = f"; and {malformed - len(tally.first_faults)} more" if malformed > len(tally.first_faults) else ""
        raise BadDataError(
            f"source {each.source.name!r}: {malformed} of {num_read} records are malformed "
            f"({malformed / num_read:.2%}; data.maxBadFraction allows {allowed:.2%}): {named}{more}",
            hint="mend these records, or raise data.maxBadFraction to go on without them",
        )


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        if batch and (len(batch) >= BATCH_DOCUMENTS or characters + len(document.text) > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += len(document.text)
    if batch:
        yield batch


@dataclass
class _Writing:
    """Tokenises batches and appends them to the splits, counting as it goes."""

    data: DataSpec
    tokenizer: Tokenizer
    names: dict[str, list[str]]
    writers: dict[str, SplitWriter]
    excluded: TextIO

    def write(self, batch: list[Document], each: Input, tallies: dict[str, _Tally]) -> None:
        for document, ids in zip(batch, self._encoded(batch), strict=True):
            if not len(ids):
                bad = BadRecord(document.file, document.line, "no_tokens")
                tallies[each.split].exclude(bad)
                _list_excluded(self.excluded, each, bad)
                continue
            digest = _digest(document.text)
            split = _split_of(each, digest, self.data)
            if split != each.split:  # the reader counted the record where its source stands
                tallies[each.split].records -= 1
                tallies[split].records += 1
            text_bytes = len(document.text.encode())
            tally = tallies[split]
            tally.documents += 1
            tally.text_bytes += text_bytes
            tally.tokens += len(ids)
            source = self.names[split].index(each.source.name)
            self.writers[split].add(ids, source=source, text_bytes=text_bytes, digest=digest)

    def _encoded(self, batch: list[Document]) -> Sequence[Sequence[int] | npt.NDArray[np.uint32]]:
        if len(batch) == 1:  # a document beyond the batch's bounds is alone in its batch
            return [self.tokenizer.encode_long(batch[0].text)]
        return self.tokenizer.encode_batch([document.text for document in batch])


def _split_of(each: Input, digest: bytes, data: DataSpec) -> str:
    """By the text's digest, so that equal texts are never in both."""
    fraction = data.validation.fraction
    if fraction and int.from_bytes(digest[:8], "big") < fraction * 2**64:
        return "validation"
    return each.split


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _record(each: Input, split: str, tally: _Tally) -> SourceRecord:
    return SourceRecord(
        name=each.source.name,
        split=split,
        format="+".join(sorted({file.format for file in each.files})),
        files=each.source_files(),
        records=tally.records,
        documents=tally.documents,
        excluded=dict(sorted(tally.excluded.items())),
        text_bytes=tally.text_bytes,
        tokens=tally.tokens,
    )


def _counts(records: list[SourceRecord], split: str) -> str:
    total: Counter[str] = Counter()
    for record in records:
        if record.split == split:
            total.update(record.excluded)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(total.items())) or "its sources hold no record"


def _shared(folder: Path) -> int:
    """Validation documents whose text stands in train too (by the first 64 bits of their digests)."""
    train, validation = (
        np.ascontiguousarray(open_split(folder, split).digests[:, :8]).view(np.uint64).ravel()
        for split in ("train", "validation")
    )
    return int(np.isin(validation, train).sum())
