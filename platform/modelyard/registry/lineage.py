"""From a model version back to the documents it was trained on: version → run → dataset → sources."""

from __future__ import annotations

from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.records import AttemptRecord, DatasetRecord, Part, SourceRecord, StageOutput, VersionRecord
from modelyard.registry.store import Registry, Resolved, open_registry
from modelyard.yard import Yard, claims, read_record, read_stage

STAGES = ("prepare", "train", "evaluate", "register")
MAX_GENERATIONS = 32  # parents of parents; a longer chain is a loop made by hand


class StageLineage(Part):
    """A stage of the run, as its record says."""

    stage: str
    input_digest: str
    attempt: int
    code_version: str
    completed: str
    outputs: tuple[StageOutput, ...] = ()


class RunLineage(Part):
    """The run that made a version. `missing` says in words what the yard does not hold any more."""

    run_id: str
    spec_digest: str
    training_digest: str
    code_version: str
    drivers: int = 0
    stages: tuple[StageLineage, ...] = ()
    missing: str | None = None


class DatasetLineage(Part):
    """The prepared dataset and the files that it was made of."""

    digest: str
    tokenizer_digest: str | None = None
    sources: tuple[SourceRecord, ...] = ()
    missing: str | None = None


class Lineage(Part):
    """A version and all that lies behind it."""

    version: VersionRecord
    aliases: tuple[str, ...]
    run: RunLineage
    dataset: DatasetLineage
    parent: Lineage | None = None
    parent_reference: str | None = None


def trace(yard: Yard, version: VersionRecord | Resolved) -> Lineage:
    """Everything behind a version that the yard still holds; what it does not hold is said, not raised."""
    record = version.record if isinstance(version, Resolved) else version
    return _trace(yard, open_registry(yard), record, MAX_GENERATIONS)


def _trace(yard: Yard, registry: Registry, record: VersionRecord, generations: int) -> Lineage:
    aliases = registry.aliases(record.name)
    return Lineage(
        version=record,
        aliases=tuple(alias for alias, version in aliases.items() if version == record.version),
        run=_run(yard, record),
        dataset=_dataset(yard, record),
        parent=_parent(yard, registry, record, generations - 1),
        parent_reference=record.parent,
    )


def _run(yard: Yard, record: VersionRecord) -> RunLineage:
    run = yard.run(record.run_id)
    stages = [read_stage(run, name) for name in STAGES]
    attempts: list[AttemptRecord] = claims(run)
    return RunLineage(
        run_id=record.run_id,
        spec_digest=record.spec_digest,
        training_digest=record.training_digest,
        code_version=record.code_version,
        drivers=sum(claim.role == "driver" for claim in attempts),
        stages=tuple(
            StageLineage(
                stage=stage.stage, input_digest=stage.input_digest, attempt=stage.attempt,
                code_version=stage.code_version, completed=stage.completed, outputs=stage.outputs,
            )
            for stage in stages
            if stage is not None
        ),
        missing=None if run.path.is_dir() else f"{run.path} is gone",
    )  # fmt: skip


def _dataset(yard: Yard, record: VersionRecord) -> DatasetLineage:
    path = yard.dataset_folder(record.dataset_digest) / "dataset.json"
    try:
        dataset = read_record(path, DatasetRecord)
    except NotFoundError:
        return DatasetLineage(digest=record.dataset_digest, missing=f"{path.parent} is gone")
    if dataset.digest != record.dataset_digest:
        return DatasetLineage(digest=record.dataset_digest, missing=f"{path} describes another dataset")
    return DatasetLineage(digest=dataset.digest, tokenizer_digest=dataset.tokenizer_digest, sources=dataset.sources)


def _parent(yard: Yard, registry: Registry, record: VersionRecord, generations: int) -> Lineage | None:
    """The version it was trained from, when `parent` names one of this registry (`name@3`, `registry://name@3`)."""
    if record.parent is None or "://" in record.parent.removeprefix("registry://") or generations <= 0:
        return None
    try:
        return _trace(yard, registry, registry.resolve(record.parent).record, generations)
    except (NotFoundError, InvalidInputError):
        return None
