"""The registry's index of one model as a cluster keeps it: `index.json` of the ConfigMap `modelyard-model-<name>`.

Drivers of several releases write it in turn, so fields that this release does not know are kept, not refused.
"""

from __future__ import annotations

from pydantic import ConfigDict

from modelyard.records.lineage import AliasChange
from modelyard.records.record import Part, Record
from modelyard.records.status import Verdict


class _Kept(Part):
    model_config = ConfigDict(extra="allow")


class IndexedVersion(_Kept):
    """A version that exists. `findings` is the digest of what evaluation found: it tells registrations apart."""

    version: int
    digest: str
    run_id: str
    created: str
    verdict: Verdict | None = None
    findings: str = ""


class IndexedClaim(_Kept):
    """A number taken by a registration that has not finished."""

    version: int
    digest: str
    run_id: str
    findings: str


class IndexedAlias(_Kept):
    """Where an alias points (0: removed), and how it came there: the last few changes, newest last."""

    version: int
    revision: int
    history: tuple[AliasChange, ...] = ()


class IndexRecord(Record):
    """Versions oldest first, aliases by name, and the numbers that are claimed."""

    model_config = ConfigDict(extra="allow")

    name: str
    versions: tuple[IndexedVersion, ...] = ()
    aliases: dict[str, IndexedAlias] = {}
    claims: tuple[IndexedClaim, ...] = ()
