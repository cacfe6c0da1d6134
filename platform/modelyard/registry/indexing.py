"""What may become of a cluster's index: pure functions from one IndexRecord to the next.

Each is idempotent: the API server may have done what was asked though its answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelyard.errors import ConflictError
from modelyard.records import (
    AliasChange,
    AliasRecord,
    IndexedAlias,
    IndexedClaim,
    IndexedVersion,
    IndexRecord,
    VersionRecord,
)
from modelyard.registry.claims import ClaimRecord, findings_of

MAX_BYTES = 900_000  # a ConfigMap holds a MiB, with its metadata
_MAX_CLAIMS = 100  # of registrations that never finished: older ones are given up, their numbers stay passed
_MAX_WORDS = 256  # characters of `by` and `reason`
_BOUNDS = ((500, 10), (100, 10), (100, 2), (10, 1))  # (versions, changes of an alias) kept, from the widest


def claimed(index: IndexRecord, claim: ClaimRecord) -> IndexRecord:
    """A number taken; raises ConflictError when another registration has it or a version stands under it."""
    wanted = IndexedClaim(version=claim.version, digest=claim.digest, run_id=claim.run_id, findings=claim.findings)
    for taken in claims_of(index):
        if taken.version == claim.version:
            if taken == claim:
                return index
            raise ConflictError(f"version {claim.version} of {claim.name!r} is taken", hint="look again, then retry")
    claims = (*index.claims, wanted)[-_MAX_CLAIMS:]
    return index.model_copy(update={"claims": claims})


def listed(index: IndexRecord, record: VersionRecord) -> IndexRecord:
    """A version that exists, its claim done with."""
    others = [one for one in index.versions if one.version != record.version]
    versions = sorted((*others, _entry(record)), key=_number)
    claims = tuple(claim for claim in index.claims if claim.version != record.version)
    return index.model_copy(update={"versions": tuple(versions), "claims": claims})


def adopted(index: IndexRecord, records: Sequence[VersionRecord], aliases: Sequence[AliasRecord]) -> IndexRecord:
    """An index without a version (new, or lost and made anew) takes in what the yard's files hold."""
    if index.versions:
        return index
    known = {**{one.alias: _alias(one) for one in aliases}, **index.aliases}
    versions = tuple(_entry(record) for record in records)
    return index.model_copy(update={"versions": versions, "aliases": known})


def pointed(index: IndexRecord, expected: AliasRecord | None, new: AliasRecord) -> IndexRecord:
    """An alias moved; raises ConflictError when it is not `expected` any more."""
    current = alias_of(index, new.alias)
    if current is not None and _revision(current) == _revision(new) and current.history[-1:] == _cut(new.history[-1:]):
        return index
    if _revision(current) != _revision(expected):
        raise ConflictError(f"alias {new.alias!r} of {new.name!r} was moved by someone else", hint="look again")
    return index.model_copy(update={"aliases": {**index.aliases, new.alias: _alias(new)}})


def alias_of(index: IndexRecord, alias: str) -> AliasRecord | None:
    """An alias as the registry knows it."""
    found = index.aliases.get(alias)
    if found is None:
        return None
    return AliasRecord(
        name=index.name, alias=alias, version=found.version, revision=found.revision, history=found.history
    )


def claims_of(index: IndexRecord) -> list[ClaimRecord]:
    """Numbers taken: by registrations on their way, and by versions that exist."""
    taken: list[IndexedVersion | IndexedClaim] = [*index.versions, *index.claims]
    return [
        ClaimRecord(name=index.name, version=one.version, run_id=one.run_id, digest=one.digest, findings=one.findings)
        for one in taken
    ]


def fitted(index: IndexRecord, limit: int = MAX_BYTES) -> str:
    """`index.json` in at most `limit` bytes: the newest versions, those that an alias names, each alias's last changes.

    What is left out still exists in the yard and resolves by its number there.
    """
    text = ""
    for versions, changes in _BOUNDS:
        text = _bounded(index, versions, changes).to_json().decode()
        if len(text.encode()) <= limit:
            break
    return text


def _bounded(index: IndexRecord, versions: int, changes: int) -> IndexRecord:
    named = {alias.version for alias in index.aliases.values()}
    newest = {one.version for one in index.versions[-versions:]}
    kept = tuple(one for one in index.versions if one.version in named | newest)
    aliases: Mapping[str, IndexedAlias] = {
        name: alias.model_copy(update={"history": alias.history[-changes:]}) for name, alias in index.aliases.items()
    }
    return index.model_copy(update={"versions": kept, "aliases": aliases})


def _entry(record: VersionRecord) -> IndexedVersion:
    return IndexedVersion(
        version=record.version, digest=record.digest, run_id=record.run_id, created=record.created,
        verdict=record.verdict, findings=findings_of(record.verdict, record.metrics),
    )  # fmt: skip


def _alias(record: AliasRecord) -> IndexedAlias:
    return IndexedAlias(version=record.version, revision=record.revision, history=_cut(record.history))


def _cut(history: Sequence[AliasChange]) -> tuple[AliasChange, ...]:
    return tuple(
        change.model_copy(update={"by": change.by[:_MAX_WORDS], "reason": change.reason[:_MAX_WORDS]})
        for change in history
    )


def _revision(record: AliasRecord | None) -> tuple[int, int]:
    return (record.version, record.revision) if record else (0, 0)


def _number(version: IndexedVersion) -> int:
    return version.version
