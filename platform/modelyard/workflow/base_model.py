"""The model that a run's training starts from: looked up once, then held to, wherever an alias moves since."""

from __future__ import annotations

from modelyard import yard as yards
from modelyard.errors import InvalidInputError
from modelyard.spec import TrainingJob
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.references import ResolvedModel, resolve_once

_DETAIL = "base"  # of the prepare stage's record: the first that every run has


def base_model(attempt: Attempt[TrainingJob]) -> ResolvedModel | None:
    """The model that this run began with, None for random weights.

    An alias is followed until the prepare stage is recorded, then the version that it named stands. Raises
    NotFoundError, or InvalidInputError when a folder's files are not those that the run began with.
    """
    reference = attempt.job.spec.model.from_
    if reference is None:
        return None
    pinned = _pinned(attempt)
    found = resolve_once(attempt.resolved, pinned.get("reference", reference), root=attempt.root, yard=attempt.yard)
    if pinned and found.digest != pinned["digest"]:
        raise InvalidInputError(
            f"spec.model.from: {found.folder} changed since this run began",
            hint="put the files back, or start anew on these with --fresh",
        )
    return found


def pin(attempt: Attempt[TrainingJob]) -> dict[str, dict[str, str]]:
    """What the prepare stage writes down so that `base_model` finds the same again; nothing for random weights."""
    found = base_model(attempt)
    return {_DETAIL: {"reference": found.reference, "digest": found.digest}} if found else {}


def _pinned(attempt: Attempt[TrainingJob]) -> dict[str, str]:
    record = yards.read_stage(attempt.folder, "prepare")
    return dict(record.details.get(_DETAIL, {})) if record else {}
