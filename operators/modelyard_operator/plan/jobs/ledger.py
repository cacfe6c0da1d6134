"""What must be remembered of an attempt: an annotation of its status ConfigMap, never the operator's memory.

The ConfigMap of an attempt outlives its RayJob until the next attempt's stands, so a count is never lost in between.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from modelyard.records import FailureDigest
from modelyard.records.record import Part
from modelyard_operator.kinds.names import GROUP
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import text

LEDGER_ANNOTATION = f"{GROUP}/attempt-ledger"


Count = Annotated[int, Field(ge=0, le=10**9)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Ledger(Part):
    """One attempt's account.

    `failures` in a row without a commit and `committed` (the newest commit's step) are those from before it.
    `active_seconds` is the time at work before the spell that is at work, which `began` then: that is told only where
    there is a deadline. `stop_asked` is when its driver was first asked to stop; `seen` what its pods told; `ended`
    when and `outcome` how it was judged over; `…_after` are the accounts with which the next attempt begins.
    """

    failures: Count = 0
    committed: Count = 0
    active_seconds: Seconds = 0.0
    began: AwareDatetime | None = None
    stop_asked: AwareDatetime | None = None
    seen: FailureDigest | None = None
    ended: AwareDatetime | None = None
    outcome: Literal["Failed", "Suspended"] | None = None
    failures_after: Count = 0
    committed_after: Count = 0
    active_after: Seconds = 0.0

    def amended(self, **changes: object) -> Ledger:
        """The ledger with some entries changed."""
        return self.model_copy(update=changes)

    def following(self) -> Ledger:
        """The account with which the next attempt begins."""
        return Ledger(failures=self.failures_after, committed=self.committed_after, active_seconds=self.active_after)

    def annotation(self) -> dict[str, str]:
        """The annotation that holds it: the same ledger is the same bytes."""
        return {LEDGER_ANNOTATION: json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))}


def ledger_of(record: Json | None) -> Ledger:
    """The account that a status ConfigMap carries; a new one when there is none, or none that can be read."""
    written = text(record, "metadata", "annotations", LEDGER_ANNOTATION)
    try:
        ledger = Ledger.model_validate_json(written) if written else Ledger()
    except (ValidationError, RecursionError):
        return Ledger()
    return ledger if (ledger.ended is None) == (ledger.outcome is None) else Ledger()
