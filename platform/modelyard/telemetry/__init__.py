"""What a run tells while it runs: events, metrics, logs; and the redaction that all of them pass through.

It knows no layout (paths come in as arguments).
"""

from modelyard.telemetry.events import Events, utc_now
from modelyard.telemetry.logs import RedactingFilter, RedactingStream, configure_logging, worker_log
from modelyard.telemetry.metrics import MetricsWriter, read_metrics
from modelyard.telemetry.redaction import MASK, is_secret_name, redact, redact_value, secret_values
from modelyard.telemetry.rows import RowWriter, read_rows

__all__ = [
    "MASK",
    "Events",
    "MetricsWriter",
    "RedactingFilter",
    "RedactingStream",
    "RowWriter",
    "configure_logging",
    "is_secret_name",
    "read_metrics",
    "read_rows",
    "redact",
    "redact_value",
    "secret_values",
    "utc_now",
    "worker_log",
]
