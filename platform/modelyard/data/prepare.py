"""From a job's sources to a prepared dataset in the yard: found again when it stands, else built and published.

Everything is built in a folder of this process alone and put in place file by file, `dataset.json` last: killed
anywhere, the next call gives the same dataset; two calls at once are fine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.data.building import build, training_texts
from modelyard.data.inputs import Input, Progress, dataset_digest, find_inputs, known_digests
from modelyard.errors import IntegrityError, InvalidInputError, ModelyardError
from modelyard.records import DatasetRecord
from modelyard.telemetry import utc_now
from modelyard.text import Tokenizer, open_tokenizer, train_tokenizer
from modelyard.yard import (
    Yard,
    digest_folder,
    durable_folder,
    fsync_folder,
    publish,
    read_record,
    verify_folder,
)
from modelyard.yard.faults import point
from modelyard.yard.publishing import storage_errors

if TYPE_CHECKING:
    from modelyard.spec import TrainingJob

RECORD = "dataset.json"


def _silent(what: str, done: int, total: int) -> None:
    pass


def prepare(
    job: TrainingJob,
    *,
    root: Path,
    yard: Yard,
    tokenizer_folder: Path | None = None,
    progress: Progress = _silent,
    verify: bool = False,
) -> DatasetRecord:
    """The dataset of a job: `yard.dataset_folder(record.digest)`. Idempotent.

    `tokenizer_folder` is the folder that `model.tokenizer.from` or `model.from` names; without it one is trained on
    the training documents. `progress(what, bytes done, bytes in all)`. With `verify` inputs and a standing dataset
    are hashed, not recognised by size and mtime.
    Raises BadDataError, InvalidInputError, StorageError, IntegrityError.
    """
    known = {} if verify else known_digests(_records(yard))
    inputs = find_inputs(job, root=root, known=known, progress=progress)
    digest = dataset_digest(inputs, job, _tokenizer_identity(job, tokenizer_folder))
    folder = yard.dataset_folder(digest)
    if (folder / RECORD).exists():
        return _standing(folder, verify=verify)
    with _build_folder(folder) as build_folder:
        tokenizer = _tokenizer(job, inputs, tokenizer_folder, build_folder / "tokenizer", progress)
        sources, shared = build(inputs, job.spec.data, tokenizer, build_folder, progress)
        point("data.prepare.built")
        _, files = digest_folder(build_folder)
        record = DatasetRecord(
            digest=digest,
            tokenizer_digest=tokenizer.digest,
            vocab_size=tokenizer.vocab_size,
            sources=sources,
            files=files,
            shared_documents=shared,
            created=utc_now(),
            environment={
                "python": platform.python_version(),
                **{name: version(name) for name in ("modelyard", "numpy", "tokenizers")},
            },
        )
        return _publish(build_folder, folder, record)


def _standing(folder: Path, *, verify: bool) -> DatasetRecord:
    """The record of a dataset in the yard; its files are there in their sizes (with `verify`: their digests)."""
    record = read_record(folder / RECORD, DatasetRecord)
    if verify:
        verify_folder(folder, record.files)
    for file in record.files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            raise IntegrityError(
                f"{path} is not as {folder / RECORD} records it", hint=f"remove {folder} and run again: it is made anew"
            )
    return record


def _tokenizer_identity(job: TrainingJob, folder: Path | None) -> dict[str, Any]:
    if folder is not None:
        return {"digest": open_tokenizer(folder).digest}
    return {"train": _training_spec(job).model_dump(mode="json", by_alias=True)}


def _training_spec(job: TrainingJob) -> Any:
    wished = job.spec.model.tokenizer
    if wished is None or wished.train is None:
        raise InvalidInputError("spec.model.tokenizer: neither a tokenizer to train nor a folder to take one from")
    return wished.train


def _tokenizer(
    job: TrainingJob, inputs: tuple[Input, ...], given: Path | None, folder: Path, progress: Progress
) -> Tokenizer:
    if given is None:
        return train_tokenizer(training_texts(inputs, job.spec.data, progress), _training_spec(job), folder)
    open_tokenizer(given).save(folder)
    return open_tokenizer(folder)


def _records(yard: Yard) -> Iterator[DatasetRecord]:
    for path in sorted((yard.root / "data").glob(f"*/{RECORD}")):
        with contextlib.suppress(ModelyardError):  # a broken or newer record knows nothing for us
            yield read_record(path, DatasetRecord)


@contextlib.contextmanager
def _build_folder(folder: Path) -> Iterator[Path]:
    """A folder of this process beside the dataset's, removed at the end; those of dead processes are swept."""
    durable_folder(folder.parent)
    prefix = f".{folder.name}-"
    for path in folder.parent.glob(f"{prefix}*.tmp"):
        _remove_if_abandoned(path)
    path = folder.parent / f"{prefix}{secrets.token_hex(8)}.tmp"
    with storage_errors("write", path):
        lock = _make_locked(path)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _make_locked(path: Path) -> int:
    """A new folder under a lock that the system lets go when this process dies; nobody finds it before it is locked."""
    unseen = path.with_suffix(".new")
    unseen.mkdir()
    lock = os.open(unseen, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unseen.rename(path)
    return lock


def _remove_if_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


def _publish(built: Path, folder: Path, record: DatasetRecord) -> DatasetRecord:
    """Put the files in place, the record last. When another process was first, its dataset is the one."""
    for file in record.files:
        descriptor = os.open(built / file.path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    durable_folder(folder)
    with _only_publisher(folder):
        if (folder / RECORD).exists():
            return _standing(folder, verify=False)
        for file in record.files:
            target = folder / file.path
            durable_folder(target.parent)
            os.replace(built / file.path, target)  # what stands there was left by a process that died in this loop
            point("data.prepare.file")
        for inner in {(folder / file.path).parent for file in record.files}:
            fsync_folder(inner)
        point("data.prepare.published")
        publish(folder / RECORD, record.to_json())
    return record


@contextlib.contextmanager
def _only_publisher(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
