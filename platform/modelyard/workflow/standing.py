"""A run as one may tell it from outside: the status document, checked against who holds the run."""

from __future__ import annotations

from modelyard import yard as yards
from modelyard.records import Condition, FailureDigest, FailurePlace, StatusDocument
from modelyard.spec.reasons import Reason
from modelyard.workflow.board import ConditionStatus, with_condition

_AT_WORK = frozenset({"Pending", "Preparing", "Training", "Evaluating", "Registering", "Running"})
_INTERRUPTED: dict[str, ConditionStatus] = {"Progressing": "False", "Suspended": "True"}


def status_of(folder: yards.RunFolder) -> StatusDocument:
    """The run's status; a status that outlived its driver says so. Raises NotFoundError for a run without one."""
    document = yards.read_record(folder.status, StatusDocument)
    return as_seen(document, yards.holder(folder))


def as_seen(document: StatusDocument, holder: yards.Holder | None) -> StatusDocument:
    """The document, or when it claims work that no driver does any more: Suspended, Interrupted, and since when."""
    if document.phase not in _AT_WORK or (holder is not None and holder.alive):
        return document
    since = f" since {holder.since}" if holder else ""
    progress = document.progress
    failure = FailureDigest(
        failure_class="Interrupted",
        message=f"Interrupted, driver gone{since}",
        where=FailurePlace(stage=progress.stage if progress else None, step=progress.step if progress else None),
        hint="the same `modelyard run` goes on from the last commit",
        retryable=True,
    )
    conditions = document.conditions
    for kind, status in _INTERRUPTED.items():
        ended = Condition(
            type=kind, status=status, reason=Reason.INTERRUPTED, message=failure.message,
            last_transition_time=holder.last_seen if holder else document.start_time or "",
        )  # fmt: skip
        conditions = with_condition(conditions, ended)
    return document.model_copy(update={"phase": "Suspended", "last_failure": failure, "conditions": conditions})
