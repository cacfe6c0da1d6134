"""report.html: what a run was, found and came from, in one file that one can send to a colleague.

Reads the yard's records only; trains, scores and judges nothing. Called by the driver at a run's end and by
`modelyard report`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.records import StatusDocument
    from modelyard.yard import RunFolder, Yard

__all__ = ["render"]


def render(run: RunFolder, yard: Yard, *, status: StatusDocument | None = None, now: datetime | None = None) -> Path:
    """Write `report.html` into the run's folder from what is recorded so far, and return its path.

    `status` is what is so now, where that is more than the run's file says (its driver is gone).
    Works for a run that failed or is still going; a record that cannot be read is named on the page.
    """
    from modelyard.report.gather import gather
    from modelyard.report.page import page
    from modelyard.yard import replace

    made = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    replace(run.report, page(gather(run, yard, status=status), now=made).encode())
    return run.report
