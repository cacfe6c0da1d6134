"""A registration's claim on a number."""

from __future__ import annotations

import json
from collections.abc import Sequence

from modelyard.errors import IntegrityError
from modelyard.records import MetricValue, Record, VersionRecord
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


def check_own(standing: VersionRecord, digest: str, run_id: str) -> None:
    """Raise IntegrityError when what stands under a claimed number is another registration's version."""
    if (standing.digest, standing.run_id) != (digest, run_id):
        raise IntegrityError(
            f"another registration stands in the yard as {standing.name}@{standing.version}",
            hint="was this yard written outside the cluster at the same time? register again",
        )
