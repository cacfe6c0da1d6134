"""The input files of a job with their digests, the dataset's digest over them, and whether they changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.data.documents import CHUNK_BYTES
from modelyard.data.sources import FoundFile, find_files
from modelyard.errors import BadDataError, ModelyardError
from modelyard.records import DatasetRecord, SourceFile

if TYPE_CHECKING:
    from modelyard.spec import SourceSpec, TrainingJob

# Raised when the same inputs would be prepared differently: it is part of every dataset's digest.
PREPARATION_VERSION = 1

KnownDigests = Mapping[tuple[str, int, int], str]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Input:
    """A source of a split, its files and their sha256, in the same order."""

    split: str
    source: SourceSpec
    files: tuple[FoundFile, ...]
    digests: tuple[str, ...]

    def source_files(self) -> tuple[SourceFile, ...]:
        """As a record keeps them."""
        return tuple(
            SourceFile(path=file.name, size_bytes=file.size_bytes, mtime_ns=file.mtime_ns, sha256=digest)
            for file, digest in zip(self.files, self.digests, strict=True)
        )


def sources_of(job: TrainingJob) -> list[tuple[str, SourceSpec]]:
    """Every source of a job with its split, training first."""
    data = job.spec.data
    return [("train", source) for source in data.train] + [("validation", each) for each in data.validation.sources]


def find_inputs(job: TrainingJob, *, root: Path, known: KnownDigests, progress: Progress) -> tuple[Input, ...]:
    """All input files, hashed unless path, size and mtime are `known`.

    Raises BadDataError for what is missing or changes while it is read.
    """
    found = [(split, source, find_files(source, root=root)) for split, source in sources_of(job)]
    total, done = sum(file.size_bytes for _, _, files in found for file in files), 0
    inputs = []
    for split, source, files in found:
        digests = []
        for file in files:
            digest = known.get((file.name, file.size_bytes, file.mtime_ns))
            digests.append(digest or hash_file(file, partial(_show, progress, done, total)))
            done += file.size_bytes
        inputs.append(Input(split, source, files, tuple(digests)))
    return tuple(inputs)


def _show(progress: Progress, before: int, total: int, size: int) -> None:
    progress("reading", before + size, total)


def hash_file(file: FoundFile, on_read: Callable[[int], None] = lambda size: None) -> str:
    """sha256 of a found file; raises BadDataError when it is not any more as it was found."""
    digest = hashlib.sha256()
    try:
        with file.path.open("rb", buffering=0) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                on_read(stream.tell())
        status = file.path.stat()
    except OSError as error:
        raise BadDataError(f"{file.name} cannot be read: {error.strerror or error}") from error
    if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
        raise changed(file)
    return f"sha256:{digest.hexdigest()}"


def changed(file: FoundFile) -> BadDataError:
    """The error for a file that was written to while it was read."""
    return BadDataError(f"{file.name} changed while it was being read", hint="let its writer finish, then run again")


def known_digests(records: Iterable[DatasetRecord]) -> dict[tuple[str, int, int], str]:
    """What earlier datasets recorded: sha256 by path, size and mtime."""
    return {
        (file.path, file.size_bytes, file.mtime_ns): file.sha256
        for record in records
        for source in record.sources
        for file in source.files
    }


def dataset_digest(inputs: Iterable[Input], job: TrainingJob, tokenizer: Mapping[str, Any]) -> str:
    """What a dataset is named by: its input files, how they are read, and the tokenizer's digest or training.

    Rows (sequence length, packing), passes and the tolerance for bad records are not part of it.
    """
    data = job.spec.data
    identity = {
        "version": PREPARATION_VERSION,
        "inputs": [
            {
                "split": each.split,
                "name": each.source.name,
                "textColumn": each.source.columns.text,
                "files": [
                    [file.name, file.format, file.compression, file.size_bytes, digest]
                    for file, digest in zip(each.files, each.digests, strict=True)
                ],
            }
            for each in inputs
        ],
        "fraction": data.validation.fraction,
        "maxRecordBytes": data.max_record_bytes,
        "prepare": [step.model_dump(mode="json", by_alias=True) for step in data.prepare],
        "tokenizer": dict(tokenizer),
    }
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode('utf-8', errors='surrogateescape')).hexdigest()}"


def recognise(record: DatasetRecord, job: TrainingJob, root: Path, *, verify: bool = False) -> tuple[str, ...]:
    """Names of the job's files that are not those of `record`: changed, gone or new; empty when all are the same.

    A file is recognised by path, size and mtime; one whose mtime alone differs is hashed, with `verify` all are.
    """
    recorded = {
        (source.split, source.name, file.path): file
        for source in record.sources
        for file in source.files
        if source.split == "train" or not job.spec.data.validation.fraction
    }
    different: list[str] = []
    for split, source in sources_of(job):
        try:
            files = find_files(source, root=root)
        except ModelyardError:
            files = ()
        for file in files:
            before = recorded.pop((split, source.name, file.name), None)
            if before is None or not _same(file, before, verify):
                different.append(file.name)
    return tuple(sorted({*different, *(path for _, _, path in recorded)}))


def _same(file: FoundFile, before: SourceFile, verify: bool) -> bool:
    if file.size_bytes != before.size_bytes:
        return False
    if file.mtime_ns == before.mtime_ns and not verify:
        return True
    try:
        return hash_file(file) == before.sha256
    except BadDataError:
        return False
