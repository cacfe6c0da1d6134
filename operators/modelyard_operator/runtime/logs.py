"""Logs as JSON lines on standard error; a line written while an object is reconciled names it."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from modelyard_operator.kinds.objects import ObjectKey

OBJECT: ContextVar[ObjectKey | None] = ContextVar("object", default=None)
_USUAL = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))


class JsonLines(logging.Formatter):
    """A record as one line: time, level, logger, message, object, what came as `extra`, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        key = OBJECT.get()
        if key is not None:
            line["object"] = str(key)
        line |= {name: value for name, value in vars(record).items() if _came_as_extra(name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _came_as_extra(name: str) -> bool:
    """Libraries that put something on every record (Ray does, once imported) begin its name with an underscore."""
    return name not in _USUAL and not name.startswith("_")


def set_up_logs(level: str) -> None:
    """Log from a level on; libraries only from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("modelyard_operator").setLevel(level.upper())
