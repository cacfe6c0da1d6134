"""The driver's status document, read out of its ConfigMap: what it says, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import ModelyardError
from modelyard.records import StatusDocument
from modelyard_operator.kinds.names import STATUS_KEY
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import clipped, dig

LARGEST_BYTES = 65536


@dataclass(frozen=True)
class Report:
    """What an attempt's driver said last; `complaint` says in words why there is no document though one was written."""

    document: StatusDocument | None = None
    complaint: str = ""

    @property
    def phase(self) -> str:
        """The driver's phase; empty when it has not reported."""
        return self.document.phase if self.document is not None else ""


def report_of(record: Json | None, kind: str, name: str) -> Report:
    """Read the document of a job's driver; never raises."""
    written = dig(record, "data", STATUS_KEY)
    if not written:
        return Report()
    if not isinstance(written, str):
        return Report(complaint=f"the driver's {STATUS_KEY} is no text")
    size = len(written.encode(errors="replace"))
    if size > LARGEST_BYTES:
        return Report(complaint=f"the driver's {STATUS_KEY} has {size} bytes, more than {LARGEST_BYTES}")
    try:
        document = StatusDocument.from_json(written, origin=f"the driver's {STATUS_KEY}")
    except (ModelyardError, RecursionError, UnicodeError) as error:
        return Report(complaint=clipped(str(error) or "it cannot be read", 512))
    if (document.kind, document.name) != (kind, name):
        return Report(complaint=f"the driver's {STATUS_KEY} is that of {document.kind} {document.name}"[:512])
    return Report(document)
