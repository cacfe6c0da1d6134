"""Everything that the yard recorded about one run, read once. No drawing, no judgement.

A record that is missing is None (a run may be young); one that cannot be read is None too and named in `unreadable`,
so that the report of a damaged run still shows the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from modelyard.errors import NotFoundError, StorageError
from modelyard.records import (
    AttemptRecord,
    DatasetRecord,
    EvaluationRecord,
    Record,
    StageOutput,
    StageRecord,
    StatusDocument,
    VersionRecord,
)
from modelyard.report.curves import Curves
from modelyard.telemetry import read_rows
from modelyard.yard import RunFolder, Yard, read_record

R = TypeVar("R", bound=Record)
STAGES = ("prepare", "train", "evaluate", "register")


@dataclass(frozen=True)
class Evidence:
    """One run as its records tell it. `curves` are metrics.jsonl: for a step the last attempt's row.

    `version` is what the run registered: an evaluation has none, though its status names the one it looked at.
    """

    run_id: str
    status: StatusDocument | None
    manifest: str
    resolved: str
    stages: tuple[StageRecord, ...]
    attempts: tuple[AttemptRecord, ...]
    curves: Curves
    events: tuple[dict[str, Any], ...]
    dataset: DatasetRecord | None
    evaluation: EvaluationRecord | None
    version: VersionRecord | None
    unreadable: tuple[str, ...]

    def stage(self, name: str) -> StageRecord | None:
        """The record of a finished stage."""
        return next((stage for stage in self.stages if stage.stage == name), None)


@dataclass
class _Reader:
    """Reads records and keeps a list of those that are there but cannot be read."""

    unreadable: list[str] = field(default_factory=list)

    def record(self, path: Path, kind: type[R]) -> R | None:
        try:
            return read_record(path, kind)
        except NotFoundError:
            return None
        except StorageError as error:
            self.unreadable.append(str(error))
            return None

    def text(self, path: Path) -> str:
        try:
            return path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            self.unreadable.append(f"{path}: {error.strerror}")
            return ""


def gather(run: RunFolder, yard: Yard, *, status: StatusDocument | None = None) -> Evidence:
    """Read what the run's folder, its dataset and its model version say; `status` stands for the file's."""
    reader = _Reader()
    status = status or reader.record(run.status, StatusDocument)
    stages = tuple(s for s in (reader.record(run.stages(name), StageRecord) for name in STAGES) if s)
    return Evidence(
        run_id=run.run_id,
        status=status,
        manifest=reader.text(run.manifest),
        resolved=reader.text(run.resolved),
        stages=stages,
        attempts=_attempts(reader, run),
        curves=Curves(read_rows(run.metrics)),
        events=tuple(read_rows(run.events)),
        dataset=_dataset(reader, yard, stages),
        evaluation=_evaluation(reader, yard, stages),
        version=_version(reader, yard, status),
        unreadable=tuple(reader.unreadable),
    )


def _attempts(reader: _Reader, run: RunFolder) -> tuple[AttemptRecord, ...]:
    paths = sorted(run.attempts.glob("*.json")) if run.attempts.is_dir() else []
    claims = (reader.record(path, AttemptRecord) for path in paths if path.stem.isdigit())
    return tuple(claim for claim in claims if claim)


def _dataset(reader: _Reader, yard: Yard, stages: tuple[StageRecord, ...]) -> DatasetRecord | None:
    made = _output(stages, "prepare", "dataset")
    return reader.record(yard.dataset_folder(made.digest) / "dataset.json", DatasetRecord) if made else None


def _evaluation(reader: _Reader, yard: Yard, stages: tuple[StageRecord, ...]) -> EvaluationRecord | None:
    made = _output(stages, "evaluate", "evaluation")
    return reader.record(yard.root / made.path, EvaluationRecord) if made else None


def _version(reader: _Reader, yard: Yard, status: StatusDocument | None) -> VersionRecord | None:
    if status is None or status.model is None or status.kind == "EvaluationJob":
        return None
    return reader.record(yard.model_folder(status.model.name, status.model.version) / "version.json", VersionRecord)


def _output(stages: tuple[StageRecord, ...], stage: str, name: str) -> StageOutput | None:
    outputs = (output for record in stages if record.stage == stage for output in record.outputs)
    return next((output for output in outputs if output.name == name), None)
