"""The prepare stage: from the manifest's sources to a dataset in the yard, shared by every run that wants the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard import data
from modelyard import yard as yards
from modelyard.data.inputs import sources_of
from modelyard.data.sources import find_files
from modelyard.errors import BadDataError, ModelyardError
from modelyard.records import DatasetRecord, Progress, StageOutput, StageRecord
from modelyard.spec import TrainingJob, training_digest
from modelyard.workflow import references
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.base_model import pin
from modelyard.workflow.news import Note, Progressed
from modelyard.workflow.stages import Made, output


def inputs(attempt: Attempt[TrainingJob]) -> dict[str, Any]:
    """What was wished, not what lies on disk: a run keeps the dataset it recorded (see `stands`)."""
    return {"training": training_digest(attempt.job)}


def find(job: TrainingJob, *, root: Path, yard: yards.Yard) -> None:
    """Raise BadDataError for a source without a file or with empty ones only, NotFoundError for a missing tokenizer."""
    for split, source in sources_of(job):
        files = find_files(source, root=root)
        if not any(file.size_bytes for file in files):
            raise BadDataError(
                f"spec.data.{split}: source {source.name}: {files[0].name} is empty", hint="name a file with text"
            )
    references.tokenizer_folder(job.spec.model, root=root, yard=yard)


def work(attempt: Attempt[TrainingJob]) -> Made:
    """Read, tokenise, shard."""

    def progress(doing: str, done: int, total: int) -> None:
        attempt.stop.check()
        attempt.board.progress(Progressed(Progress(stage="prepare"), doing, done, total))

    tokenizer = references.tokenizer_folder(attempt.job.spec.model, root=attempt.root, yard=attempt.yard)
    record = data.prepare(
        attempt.job,
        root=attempt.root,
        yard=attempt.yard,
        tokenizer_folder=tokenizer,
        progress=progress,
        verify=attempt.options.verify,
    )
    if record.shared_documents:
        attempt.board.tell(_leak(record))
    folder = attempt.yard.dataset_folder(record.digest)
    made = StageOutput(name="dataset", path=str(folder.relative_to(attempt.yard.root)), digest=record.digest)
    return Made(outputs=(made,), summary=_summary(record), details=pin(attempt))


def stands(attempt: Attempt[TrainingJob], record: StageRecord) -> bool:
    """Whether the recorded dataset is there; warns of sources that changed or went: the run goes on with its own."""
    try:
        dataset_record = _read(attempt, record)
    except ModelyardError:
        return False
    if attempt.options.verify:
        yards.verify_folder(_folder(attempt, record), dataset_record.files)
    different = data.recognise(dataset_record, attempt.job, root=attempt.root, verify=attempt.options.verify)
    missing = [name for name in different if not (attempt.root / name).exists()]
    _warn(attempt, missing, "missing", "put them back before --fresh, which would read them")
    changed = [name for name in different if name not in set(missing)]
    _warn(attempt, changed, "changed", "--fresh starts anew on the new text")
    return True


def _warn(attempt: Attempt[TrainingJob], names: Sequence[str], what: str, remedy: str) -> None:
    if names:
        named = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        text = (
            f"{len(names)} source file(s) {what} since this run's dataset was made ({named}): "
            f"the run goes on with the text it recorded; {remedy}"
        )
        attempt.board.tell(Note(text, warning=True))


def dataset(attempt: Attempt[TrainingJob]) -> DatasetRecord:
    """The record of the dataset that this run trains on."""
    return _read(attempt, attempt.records["prepare"])


def _read(attempt: Attempt[TrainingJob], record: StageRecord) -> DatasetRecord:
    return yards.read_record(_folder(attempt, record) / "dataset.json", DatasetRecord)


def _folder(attempt: Attempt[TrainingJob], record: StageRecord) -> Any:
    return attempt.yard.root / output(record, "dataset").path


def _leak(record: DatasetRecord) -> Note:
    validation = sum(source.documents for source in record.sources if source.split == "validation")
    return Note(
        f"{record.shared_documents:,} of {validation:,} validation documents hold a text that stands in the training "
        "data too: what is measured on them flatters the model; take them out of one of the two",
        warning=True,
    )


def _summary(record: DatasetRecord) -> str:
    train = [source for source in record.sources if source.split == "train"]
    excluded = sum(sum(source.excluded.values()) for source in record.sources)
    words = f"{sum(s.documents for s in train):,} documents, {sum(s.tokens for s in train):,} tokens to train on"
    return words + (f", {excluded:,} records left out" if excluded else "")
