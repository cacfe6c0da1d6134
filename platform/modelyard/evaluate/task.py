"""An evaluation as plain values that travel to another process, and what that process does with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelyard.records import EvaluationRecord

if TYPE_CHECKING:
    from modelyard.evaluate.comparisons import Baseline
    from modelyard.spec import SuiteSpec

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BaselineTask:
    """What the model is compared with; without a folder there is no such model, and `missing` says so."""

    model_name: str
    model_digest: str = ""
    model_folder: str | None = None
    missing: str = ""
    when_missing: Literal["fail", "pass"] = "fail"


@dataclass(frozen=True)
class EvaluateTask:
    """`suites` and `gates` are the spec's own JSON.

    `dataset_folder` gives suites without sources their documents, and the unigram reference.
    """

    model_folder: str
    model_name: str
    model_digest: str
    root: str
    suites: tuple[str, ...]
    gates: tuple[str, ...]
    now: str
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    dataset_folder: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    baseline: BaselineTask | None = None


def run_task(task: EvaluateTask, report: Report, *, device: str = "cpu") -> EvaluationRecord:
    """Open the model and score it: what the process with the resources executes.

    A baseline is scored first and let go: the two are never in memory together.
    """
    from modelyard.evaluate import evaluate
    from modelyard.infer import open_model
    from modelyard.spec import GateSpec, SuiteSpec

    suites = [SuiteSpec.model_validate(json.loads(text)) for text in task.suites]
    baseline = _baseline(task, suites, report, device=device) if task.baseline else None
    return evaluate(
        open_model(Path(task.model_folder), precision=task.precision, device=device),
        suites,
        [GateSpec.model_validate(json.loads(text)) for text in task.gates],
        root=Path(task.root),
        now=task.now,
        dataset_folder=Path(task.dataset_folder) if task.dataset_folder else None,
        model_name=task.model_name,
        model_digest=task.model_digest,
        progress=report,
        environment=task.environment,
        baseline=baseline,
    )


def _baseline(task: EvaluateTask, suites: Sequence[SuiteSpec], report: Report, *, device: str) -> Baseline:
    """The baseline scored; without scores when there is none, or when it is the very model that is evaluated."""
    from modelyard.evaluate.comparisons import Baseline
    from modelyard.evaluate.suites import measure
    from modelyard.infer import open_model

    wish = task.baseline
    assert wish is not None
    known = Baseline(wish.model_name, wish.model_digest, missing=wish.missing, when_missing=wish.when_missing)
    if wish.model_folder is None or wish.model_digest == task.model_digest:
        return known
    measured = measure(
        open_model(Path(wish.model_folder), precision=task.precision, device=device),
        suites,
        root=Path(task.root),
        references=False,
        progress=lambda suite, done, total: report(f"{suite} (baseline)", done, total),
    )
    return replace(known, measured=measured)
