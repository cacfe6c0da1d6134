"""An evaluation as plain values that travel to another process, and what that process does with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelyard.records import EvaluationRecord

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EvaluateTask:
    """`suites`, `gates` and `validation` are the spec's own JSON.

    `dataset_folder` gives suites without sources their documents, and the unigram reference.
    """

    model_folder: str
    model_name: str
    model_digest: str
    root: str
    suites: tuple[str, ...]
    gates: tuple[str, ...]
    validation: tuple[str, ...]
    now: str
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    dataset_folder: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


def run_task(task: EvaluateTask, report: Report, *, device: str = "cpu") -> EvaluationRecord:
    """Open the model and score it: what the process with the resources executes."""
    from modelyard.evaluate import evaluate
    from modelyard.infer import open_model
    from modelyard.spec import GateSpec, SourceSpec, SuiteSpec

    return evaluate(
        open_model(Path(task.model_folder), precision=task.precision, device=device),
        [SuiteSpec.model_validate(json.loads(text)) for text in task.suites],
        [GateSpec.model_validate(json.loads(text)) for text in task.gates],
        root=Path(task.root),
        now=task.now,
        validation=[SourceSpec.model_validate(json.loads(text)) for text in task.validation],
        dataset_folder=Path(task.dataset_folder) if task.dataset_folder else None,
        model_name=task.model_name,
        model_digest=task.model_digest,
        progress=report,
        environment=task.environment,
    )
