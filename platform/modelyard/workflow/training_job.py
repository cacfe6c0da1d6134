"""What a TrainingJob's driver does: prepare → train → evaluate → register, and the gates' last word."""

from __future__ import annotations

from typing import Any

from modelyard import yard as yards
from modelyard.errors import GateFailedError, NoVerdictError
from modelyard.records import EvaluationRecord
from modelyard.spec import TrainingJob, training_digest
from modelyard.spec.reasons import Reason
from modelyard.workflow import evaluating, preparing, registering, training
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.base_model import base_model
from modelyard.workflow.stages import Stage

TrainingAttempt = Attempt[TrainingJob]


def begin(attempt: TrainingAttempt) -> None:
    """Look whether what the manifest names is there; then start Ray while the text is prepared, unless it stands."""
    base_model(attempt)
    if yards.read_stage(attempt.folder, "prepare") is None:
        preparing.find(attempt.job, root=attempt.root, yard=attempt.yard)
    attempt.board.enter("Pending", Reason.PREPARING)
    if yards.read_stage(attempt.folder, "train") is None:
        attempt.ray.begin()


def conclude(attempt: TrainingAttempt) -> None:
    """Complete, or what the gates said: raises GateFailedError or NoVerdictError (a version is registered anyway)."""
    record = evaluating.evaluation(attempt)
    weigh(record)
    attempt.board.complete(Reason.COMPLETED, "all stages stand")


def weigh(record: EvaluationRecord | None) -> None:
    """Raise what a verdict that is not a pass means for the job."""
    if record is None or record.verdict in (None, "Passed"):
        return
    gates = [gate for gate in record.gates if gate.verdict != "Passed"]
    said = "; ".join(gate.message or f"{gate.metric} {gate.rule} {gate.bound}: {gate.verdict}" for gate in gates)
    hint = "the version is registered with its verdict; no alias moved"
    if record.verdict == "Failed":
        raise GateFailedError(f"a gate said no: {said}", hint=hint)
    raise NoVerdictError(f"no verdict could be reached: {said}", hint=hint)


def _train_inputs(attempt: TrainingAttempt) -> dict[str, Any]:
    base = base_model(attempt)
    return {
        "training": training_digest(attempt.job),
        "dataset": preparing.dataset(attempt).digest,
        "base": base.digest if base else None,
        "from": attempt.job.spec.register.from_,
    }


STAGES: tuple[Stage[TrainingJob], ...] = (
    Stage("prepare", "Preparing", Reason.PREPARING, preparing.inputs, preparing.work, preparing.stands),
    Stage("train", "Training", Reason.TRAINING, _train_inputs, training.work, training.stands),
    Stage("evaluate", "Evaluating", Reason.EVALUATING, evaluating.inputs, evaluating.work, evaluating.stands),
    Stage("register", "Registering", Reason.REGISTERING, registering.inputs, registering.work, registering.stands),
)
