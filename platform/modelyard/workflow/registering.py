"""The register stage: the trained folder becomes an immutable version; aliases move only when the gates passed."""

from __future__ import annotations

from typing import Any

from modelyard import registry
from modelyard.errors import ModelyardError
from modelyard.records import ModelState, StageOutput, StageRecord
from modelyard.spec import TrainingJob, spec_digest, training_digest
from modelyard.workflow import evaluating, preparing, training
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.base_model import base_model
from modelyard.workflow.environment import code_version, environment
from modelyard.workflow.stages import Made, output


def inputs(attempt: Attempt[TrainingJob]) -> dict[str, Any]:
    """The exported folder, the verdict on it, and where it goes."""
    wish = attempt.job.spec.register
    evaluation = attempt.records["evaluate"]
    return {
        "export": output(attempt.records["train"], "export").digest,
        "evaluation": evaluation.input_digest,
        "register": wish.model_dump(mode="json"),
    }


def work(attempt: Attempt[TrainingJob]) -> Made:
    """Register the version and move the aliases that the verdict allows. A rerun after a kill finds its version."""
    wish = attempt.job.spec.register
    evaluation = evaluating.evaluation(attempt)
    train = attempt.records["train"]
    base = base_model(attempt)
    books = registry.open_registry(attempt.yard)
    attempt.lease.check()
    version = books.register(
        wish.name,
        training.export_folder(attempt),
        expected_digest=output(train, "export").digest,
        run_id=attempt.folder.run_id,
        spec_digest=spec_digest(attempt.job),
        training_digest=training_digest(attempt.job),
        dataset_digest=preparing.dataset(attempt).digest,
        code_version=code_version(),
        parent=base.label if base else None,
        step=int(train.details["step"]),
        parameters=int(train.details["parameters"]),
        verdict=evaluation.verdict if evaluation else None,
        metrics=tuple(m for suite in evaluation.suites for m in suite.metrics) if evaluation else (),
        environment=environment(),
    )
    passed = evaluation is None or evaluation.verdict in (None, "Passed")
    moved = list(wish.aliases) if passed else []
    for alias in moved:
        attempt.lease.check()  # a driver that was frozen since must not take an alias back
        books.set_alias(wish.name, alias, version.version, by=f"run {attempt.folder.run_id}", reason="register")
    attempt.board.update(model=ModelState(name=version.name, version=version.version, digest=version.digest))
    folder = attempt.yard.model_folder(version.name, version.version).relative_to(attempt.yard.root)
    named = f"{version.name}@{version.version}" + (f" ({', '.join(moved)})" if moved else "")
    return Made(
        outputs=(StageOutput(name="version", path=str(folder), digest=version.digest),),
        summary=named if passed else f"{named}, no alias moved: the gates did not pass",
        details={"name": version.name, "version": version.version, "aliases": moved},
    )


def stands(attempt: Attempt[TrainingJob], record: StageRecord) -> bool:
    """Whether the version is still in the registry; with --verify, whether its bytes are those registered."""
    books = registry.open_registry(attempt.yard)
    try:
        version, _ = books.resolve(f"registry://{record.details['name']}@{record.details['version']}")
    except ModelyardError:
        return False
    if attempt.options.verify:
        books.verify(version)
    attempt.board.update(model=ModelState(name=version.name, version=version.version, digest=version.digest))
    return True
