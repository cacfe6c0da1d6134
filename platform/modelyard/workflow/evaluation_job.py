"""What an EvaluationJob's driver does: score a registered model (or a folder) and end in a verdict."""

from __future__ import annotations

from typing import Any

from modelyard import yard as yards
from modelyard.errors import NotFoundError
from modelyard.evaluate.task import BaselineTask, EvaluateTask
from modelyard.spec import EvaluationJob
from modelyard.spec.reasons import Reason
from modelyard.workflow import evaluating, references
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.board import ConditionStatus
from modelyard.workflow.environment import environment
from modelyard.workflow.stages import Made, Stage, inputs_digest

EvaluationAttempt = Attempt[EvaluationJob]
_PASSED: dict[str, ConditionStatus] = {"Passed": "True", "Failed": "False"}


def begin(attempt: EvaluationAttempt) -> None:
    """Resolve target and baseline before anything is started; start Ray unless the verdict stands."""
    attempt.board.update(model=_target(attempt).registered)
    _baseline(attempt)
    attempt.board.enter("Pending", Reason.EVALUATING)
    record = yards.read_stage(attempt.folder, "evaluate")
    if record is None or record.input_digest != inputs_digest(_inputs(attempt)):
        attempt.ray.begin()


def conclude(attempt: EvaluationAttempt) -> None:
    """Complete, whatever the verdict: it stands in `verdict` and in the condition Passed."""
    record = evaluating.evaluation(attempt)
    verdict = record.verdict if record else None
    if record and verdict:
        reason = Reason.GATES_PASSED if verdict == "Passed" else Reason.GATE_FAILED
        said = "; ".join(gate.message for gate in record.gates if gate.message)
        attempt.board.condition("Passed", _PASSED.get(verdict, "Unknown"), reason, said)
        attempt.board.update(verdict=verdict)
    attempt.board.complete(Reason.VERDICT_REACHED, f"verdict {verdict}" if verdict else "no gates")


def _target(attempt: EvaluationAttempt) -> references.ResolvedModel:
    reference = attempt.job.spec.target.model
    assert reference is not None  # the spec refuses endpoint targets until they are built
    return references.resolve_once(attempt.resolved, reference, root=attempt.root, yard=attempt.yard)


def _baseline(attempt: EvaluationAttempt) -> BaselineTask | None:
    """What the target is compared with; that there is no such model (yet) is the gates' to weigh, no error."""
    wish = attempt.job.spec.baseline
    if wish is None:
        return None
    if wish.model not in attempt.missing:
        try:
            found = references.resolve_once(attempt.resolved, wish.model, root=attempt.root, yard=attempt.yard)
            return BaselineTask(found.label, found.digest, str(found.folder), when_missing=wish.when_missing)
        except NotFoundError as error:
            attempt.missing[wish.model] = str(error)
    why = f"there is no {wish.model}: {attempt.missing[wish.model]}"
    return BaselineTask(wish.model, missing=why, when_missing=wish.when_missing)


def _inputs(attempt: EvaluationAttempt) -> dict[str, Any]:
    spec, baseline = attempt.job.spec, _baseline(attempt)
    return {
        **({"baseline": [baseline.model_digest, baseline.when_missing]} if baseline else {}),
        "target": _target(attempt).digest,
        "suites": [suite.model_dump(mode="json") for suite in spec.suites],
        "sources": evaluating.source_digests(spec.suites, attempt.root),
        "gates": [gate.model_dump(mode="json") for gate in spec.gates],
    }


def _work(attempt: EvaluationAttempt) -> Made:
    spec, target = attempt.job.spec, _target(attempt)
    task = EvaluateTask(
        model_folder=str(target.folder),
        model_name=target.label,
        model_digest=target.digest,
        root=str(attempt.root),
        suites=tuple(suite.model_dump_json(by_alias=True) for suite in spec.suites),
        gates=tuple(gate.model_dump_json(by_alias=True) for gate in spec.gates),
        now=attempt.board.now(),
        dataset_folder=_dataset_folder(attempt, target),
        environment=environment(),
        baseline=_baseline(attempt),
    )
    return evaluating.made(attempt, evaluating.score(attempt, task, spec.workers))


def _dataset_folder(attempt: EvaluationAttempt, target: references.ResolvedModel) -> str | None:
    """What a registered model was trained on, when it is still there: it tells how often each token stood in it."""
    if target.dataset_digest is None:
        return None
    folder = attempt.yard.dataset_folder(target.dataset_digest)
    return str(folder) if (folder / "dataset.json").is_file() else None


STAGES: tuple[Stage[EvaluationJob], ...] = (
    Stage("evaluate", "Running", Reason.EVALUATING, _inputs, _work, evaluating.stands),
)
