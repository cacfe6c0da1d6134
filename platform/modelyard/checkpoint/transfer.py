"""Save and restore: what every rank does together, and reading a commit without any engine.

A save is three rounds, each ended by an exchange of messages: rank 0 makes the folder, every rank writes its
fragments, rank 0 commits. A fault on one rank is told to all in the next exchange, so that no rank waits for another
that gave up. Knows no DeepSpeed: zero.py is one TrainingState.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from modelyard.checkpoint.commits import MARKER, Commit, FolderName, open_commit
from modelyard.checkpoint.fragments import Fragment, FragmentReader, host_bytes, read_header, write_file
from modelyard.checkpoint.ranges import coverage_faults, expected_kinds, model_faults, num_elements, summary
from modelyard.checkpoint.ranks import ALONE, Ranks
from modelyard.checkpoint.retention import remove
from modelyard.errors import FencedError, IntegrityError, InvalidInputError, ModelyardError, StorageError
from modelyard.records import CommitRecord, FileDigest, TensorRecord
from modelyard.yard import RunFolder, check_attempt, durable_folder, faults, publish
from modelyard.yard.publishing import storage_errors

Scalars = dict[str, Any]  # JSON values; "kinds" lists the optimizer's states


class TrainingState(Protocol):
    """What is saved and restored: an engine, seen as named ranges."""

    def tensors(self) -> tuple[TensorRecord, ...]:
        """Every tensor that a checkpoint must hold, in the model's own order."""
        ...

    def owned(self) -> Iterator[Fragment]:
        """What this rank writes: over all ranks each element exactly once."""
        ...

    def live(self) -> Iterator[Fragment]:
        """Everything this rank trains with, replicas included: what a restore must fill."""
        ...

    def scalars(self) -> Scalars:
        """What is the same on every rank."""
        ...

    def prepare(self, scalars: Scalars) -> None:
        """Make the optimizer states that `live` then names. No collectives."""
        ...

    def refresh(self, scalars: Scalars) -> None:
        """After `live` was filled: the rest of the engine follows. Every rank calls."""
        ...


@dataclass(frozen=True)
class CommitFacts:
    """What a commit says beside its tensors. `tokens` are those trained on so far; `created` is RFC 3339 UTC."""

    step: int
    attempt: int
    tokens: int
    training_digest: str
    dataset_digest: str
    created: str
    metrics: dict[str, float]


def save(state: TrainingState, run: RunFolder, facts: CommitFacts, *, ranks: Ranks = ALONE) -> Commit:
    """Write and commit a checkpoint of the state after step `facts.step`; every rank calls, between two steps.

    The same step and attempt again returns the commit that stands. When it fails on one rank it raises on every one:
    FencedError when a later attempt holds the run, else there what went wrong and on the others a StorageError that
    names that rank. Then nothing was committed and what was committed before stands.
    """
    faults.point("checkpoint.save.begin")
    name = str(FolderName(facts.attempt, facts.step))
    folder = run.checkpoints / name

    if _together(ranks, lambda: _open_folder(run, name, facts.attempt) if ranks.rank == 0 else "")[0] == "standing":
        return open_commit(run, name)

    def write() -> dict[str, Any]:
        with storage_errors("write", folder):
            file = write_file(folder / f"fragments-{ranks.rank:05d}.safetensors", state.owned())
        faults.point("checkpoint.fragments.durable")
        return file.to_dict()

    try:
        files = tuple(FileDigest.model_validate(file) for file in _together(ranks, write))
        faults.point("checkpoint.gathered")
        scalars, tensors = state.scalars(), state.tensors()
        record = CommitRecord(**vars(facts), files=files, scalars=scalars, tensors=tensors)
        _together(ranks, lambda: _commit(run, Commit(folder, record)) if ranks.rank == 0 else "")
    except ModelyardError:
        if ranks.rank == 0 and not (folder / MARKER).exists():
            remove(folder)  # every rank has stopped writing: give the disk its space back
        raise
    faults.point("checkpoint.commit.after")
    return Commit(folder, record)


def _open_folder(run: RunFolder, name: str, attempt: int) -> str:
    check_attempt(run, attempt)
    if (run.checkpoints / name / MARKER).exists():
        return "standing"
    durable_folder(run.checkpoints / name)
    return "new"


def _commit(run: RunFolder, commit: Commit) -> str:
    """Publish the marker, after a last look at what is there and who holds the run."""
    record = commit.record
    ranges = [piece.range for path in commit.paths for piece in read_header(path)]
    found = coverage_faults(record.tensors, record.scalars["kinds"], ranges)
    if found:
        raise IntegrityError(f"checkpoint {commit.name} would not be whole: {summary(found)}")
    faults.point("checkpoint.commit.before")
    publish(commit.folder / MARKER, record.to_json(), guard=lambda: check_attempt(run, commit.attempt))
    check_attempt(run, commit.attempt)  # taken over in between: what was published counts only if the claim saw it
    return "committed"


def _together(ranks: Ranks, action: Callable[[], Any]) -> list[Any]:
    """Every rank acts; returns all answers (JSON values), or raises on every rank when one of them failed."""
    own: Exception | None = None
    try:
        message = {"answer": action()}
    except Exception as error:  # told to the others first, then raised
        own, message = error, {"error": str(error) or repr(error), "fenced": isinstance(error, FencedError)}
    messages = [json.loads(text) for text in ranks.gather(json.dumps(message).encode())]
    if own is not None:
        raise own
    for rank, other in enumerate(messages):
        if "error" in other:
            kind = FencedError if other["fenced"] else StorageError
            raise kind(f"rank {rank}: {other['error']}")
    return [other["answer"] for other in messages]


def restore(
    state: TrainingState,
    commit: Commit,
    *,
    ranks: Ranks = ALONE,
    training_digest: str | None = None,
    dataset_digest: str | None = None,
) -> None:
    """Fill a freshly made engine with a commit, whatever worker count and ZeRO stage it is of; every rank calls.

    Reads straight into the engine's own memory. Digests of files are `latest`'s business. Raises InvalidInputError
    when the commit is of another model, training or dataset, IntegrityError when tensors or ranges are missing or
    too many.
    """
    faults.point("checkpoint.restore.begin")
    record = commit.record

    def fill() -> str:
        _check_same(commit, state.tensors())
        _check_origin(commit, "training", commit.record.training_digest, training_digest)
        _check_origin(commit, "dataset", commit.record.dataset_digest, dataset_digest)
        with storage_errors("read", commit.folder), FragmentReader(commit.paths) as reader:
            _check_whole(commit, reader)
            state.prepare(record.scalars)
            for fragment in state.live():
                reader.read(fragment)
        return ""

    _together(ranks, fill)
    state.refresh(record.scalars)


def _check_same(commit: Commit, model: Sequence[TensorRecord]) -> None:
    found = model_faults(commit.record.tensors, model)
    if found:
        raise InvalidInputError(
            f"checkpoint {commit.name} is of another model: {summary(found)}", hint="start anew with --fresh"
        )


def _check_origin(commit: Commit, what: str, recorded: str, wanted: str | None) -> None:
    if wanted is not None and wanted != recorded:
        raise InvalidInputError(
            f"checkpoint {commit.name} is of {what} {recorded}, this run's is {wanted}", hint="start anew with --fresh"
        )


def _check_whole(commit: Commit, reader: FragmentReader) -> None:
    found = coverage_faults(commit.record.tensors, commit.record.scalars["kinds"], reader.ranges())
    if found:
        raise IntegrityError(f"checkpoint {commit.name} is not whole: {summary(found)}")


def assemble(commit: Commit) -> Iterator[tuple[str, torch.Tensor]]:
    """The full weights of a commit in host memory, one at a time: no engine, no collectives.

    Masters come in their own precision (fp32), frozen parameters and persistent buffers as they are; a tied tensor
    once. Raises IntegrityError when something is missing.
    """
    with storage_errors("read", commit.folder), FragmentReader(commit.paths) as reader:
        _check_whole(commit, reader)
        for tensor in commit.record.tensors:
            yield tensor.name, reader.full(tensor.name, tensor.kind, tensor.shape)


def state_digest(commit: Commit, *, optimizer: bool = True) -> str:
    """A digest of all values, with the optimizer's states or without: of no worker count or stage, only of values."""
    digest = hashlib.sha256()
    states = sorted(commit.record.scalars["kinds"]) if optimizer else []
    with storage_errors("read", commit.folder), FragmentReader(commit.paths) as reader:
        _check_whole(commit, reader)
        for tensor in sorted(commit.record.tensors, key=lambda tensor: tensor.name):
            for kind in expected_kinds(tensor, states) if num_elements(tensor) else ():
                full = reader.full(tensor.name, kind, tensor.shape)
                digest.update(f"{tensor.name}:{kind}:{full.dtype}:{tensor.shape}\n".encode())
                digest.update(host_bytes(full.view(-1)))
    return f"sha256:{digest.hexdigest()}"
