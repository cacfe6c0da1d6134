"""A registration's claim on a number."""

from __future__ import annotations

import json
from collections.abc import Sequence

from modelyard.records import MetricValue, Record
from modelyard.records.status import Verdict
from modelyard.yard import digest_bytes


class ClaimRecord(Record):
    """A number that is taken, and for what: the run, its folder's digest, the digest of what evaluation found."""

    name: str
    version: int
    run_id: str
    digest: str
    findings: str


def findings_of(verdict: Verdict | None, metrics: Sequence[MetricValue]) -> str:
    """The digest of what evaluation found."""
    return digest_bytes(json.dumps([verdict, [metric.to_dict() for metric in metrics]]).encode())
