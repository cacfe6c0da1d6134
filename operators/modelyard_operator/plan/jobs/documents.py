"""The driver's status document, read out of its ConfigMap: what it says, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import IntegrityError, ModelyardError
from modelyard.records import StatusDocument
from modelyard_operator.kinds.names import STATUS_KEY
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import clipped, dig

LARGEST_BYTES = 65536
_WHOSE = f"the driver's {STATUS_KEY}"


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
    try:
        return Report(_document(written, kind, name))
    except (ModelyardError, UnicodeError) as error:
        return Report(complaint=clipped(str(error), 512))


def _document(written: object, kind: str, name: str) -> StatusDocument:
    if not isinstance(written, str):
        raise IntegrityError(f"{_WHOSE} is no text")
    size = len(written.encode(errors="replace"))
    if size > LARGEST_BYTES:
        raise IntegrityError(f"{_WHOSE} has {size} bytes, more than {LARGEST_BYTES}")
    document = StatusDocument.from_json(written, origin=_WHOSE)
    if (document.kind, document.name) != (kind, name):
        raise IntegrityError(f"{_WHOSE} is that of {document.kind} {document.name}")
    return document
