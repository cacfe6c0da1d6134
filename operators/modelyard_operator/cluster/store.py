"""What an API server keeps: objects, versions, the history that watches read. In memory, synchronous, without chance.

It follows the real server where an operator can tell the difference (tests hold both to one suite): versions grow by
one with every write; a patch that changes nothing writes nothing; status is written only through its subresource;
deletion waits for finalizers; dependents of what is gone are collected. It knows no schemas, namespaces, permissions.
"""

from __future__ import annotations

import json
import marshal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from modelyard_operator.cluster.api import (
    AlreadyExistsError,
    ConflictError,
    GoneError,
    InvalidError,
    NotFoundError,
    Page,
    WatchEvent,
)
from modelyard_operator.cluster.merging import merge, selects
from modelyard_operator.kinds.objects import (
    EVENTS,
    NETWORK_POLICIES,
    OURS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RAY_CLUSTERS,
    RAY_JOBS,
    RAY_SERVICES,
    RESOURCES,
    SERVICES,
    Json,
    ObjectKey,
    Resource,
    key_of,
    uid_of,
)

_CUSTOM = frozenset({*OURS, RAY_JOBS, RAY_CLUSTERS, RAY_SERVICES})
_WITH_STATUS = _CUSTOM | {PODS, SERVICES, PERSISTENT_VOLUME_CLAIMS, POD_DISRUPTION_BUDGETS}
_WITH_GENERATION = _CUSTOM | {NETWORK_POLICIES, POD_DISRUPTION_BUDGETS}
_KNOWN_KINDS = frozenset((resource.api_version, resource.kind) for resource in RESOURCES)
_SERVERS_OWN = ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")


def numbered_uids() -> Callable[[], str]:
    """A source of uids that differ in their first characters too and are the same in every run."""
    numbers = count(1)
    return lambda: str(uuid.uuid5(uuid.NAMESPACE_OID, str(next(numbers))))


@dataclass(frozen=True)
class Change:
    """A write: the object before and after it (None: there was, there is none)."""

    version: int
    key: ObjectKey
    before: Json | None
    after: Json | None

    def seen(self, namespace: str, labels: str) -> WatchEvent | None:
        """What a watch tells of it: an object that comes to match is ADDED, one that ceases to is DELETED."""
        if namespace and namespace != self.key.namespace:
            return None
        before = self.before if self.before is not None and selects(labels, self.before) else None
        after = self.after if self.after is not None and selects(labels, self.after) else None
        if after is not None:
            return WatchEvent("ADDED" if before is None else "MODIFIED", _fresh(after))
        if before is None:
            return None
        return WatchEvent("DELETED", _with_metadata(_fresh(before), resourceVersion=str(self.version)))


@dataclass
class Store:
    """The state. `now` and `new_uid` are the only sources of time and ids.

    Dependents of what is gone go at once, or, where `collects` is False, when `collect` is called.
    """

    served: frozenset[Resource] = frozenset(RESOURCES)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_uid: Callable[[], str] = field(default_factory=numbered_uids)
    collects: bool = True
    objects: dict[ObjectKey, Json] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    version: int = 0
    oldest: int = 0
    listeners: list[Callable[[], None]] = field(default_factory=list)  # told in their order: no chance anywhere
    _pages: dict[str, Page] = field(default_factory=dict)

    def get(self, key: ObjectKey) -> Json:
        """One object; NotFoundError."""
        return _fresh(self._standing(key))

    def page(self, resource: Resource, namespace: str = "", labels: str = "", limit: int = 500, more: str = "") -> Page:
        """Objects of a kind by namespace and name; the pages of one list show one moment. GoneError: list anew."""
        self._know(resource)
        if more:
            page = self._pages.pop(more, None)
            if page is None:
                raise GoneError(f"the continue token {more} is too old")
            return self._cut(page.items, page.resource_version, limit)
        keys = sorted(key for key in self.objects if key.resource == resource and namespace in ("", key.namespace))
        items = tuple(_fresh(self.objects[key]) for key in keys if selects(labels, self.objects[key]))
        return self._cut(items, str(self.version), limit)

    def create(self, item: Json) -> Json:
        """Create an object; AlreadyExistsError, InvalidError, NotFoundError of the kind."""
        key = _key(item)
        self._know(key.resource)
        if key in self.objects:
            raise AlreadyExistsError(f"{key} already exists")
        item = _copy(item)
        given = {name: value for name, value in item["metadata"].items() if name not in _SERVERS_OWN}
        metadata: dict[str, Any] = {**given, "uid": self.new_uid(), "creationTimestamp": _timestamp(self.now())}
        if key.resource in _WITH_GENERATION:
            metadata["generation"] = 1
        created: dict[str, Any] = {**item, "metadata": metadata}
        if key.resource in _WITH_STATUS:
            created.pop("status", None)
        if key.resource == PODS:
            created["status"] = {"phase": "Pending"}
        written = self._write(key, None, created)
        self._tidy()
        return _fresh(written)

    def patch(
        self, key: ObjectKey, body: Json, uid: str = "", resource_version: str = "", subresource: str = ""
    ) -> Json:
        """Merge-patch an object or its status; a patch that changes nothing writes nothing."""
        current = self._standing(key)
        if subresource and (subresource != "status" or key.resource not in _WITH_STATUS):
            raise NotFoundError(f"{key.resource} has no {subresource}")
        wished = body.get("metadata", {}).get("resourceVersion", resource_version) or resource_version
        _check(key, current, uid, wished)
        patched = _admitted(key, current, merge(current, _copy(body)), subresource)
        if patched == current:
            return _fresh(current)
        if patched["metadata"].get("deletionTimestamp") and not patched["metadata"].get("finalizers"):
            self._remove(key, patched)
        else:
            patched = dict(self._write(key, current, patched))
        self._tidy()
        return _fresh(patched)

    def delete(self, key: ObjectKey, uid: str = "") -> None:
        """Delete an object, or mark it when finalizers hold it; then its dependents. ConflictError, NotFoundError."""
        current = self._standing(key)
        _check(key, current, uid, "")
        self._delete(key, current)
        self._tidy()

    def changes(self, resource: Resource, after: int) -> list[Change]:
        """Writes of a kind after a version; GoneError when the history does not reach that far back."""
        self._know(resource)
        if after < self.oldest:
            raise GoneError(f"too old resource version: {after} ({self.oldest})")
        first = next((place for place, change in enumerate(self.history) if change.version > after), len(self.history))
        return [change for change in self.history[first:] if change.key.resource == resource]

    def compact(self) -> None:
        """Forget the history and the begun lists: watches from before now are GoneError."""
        self.history.clear()
        self._pages.clear()
        self.oldest = self.version

    def collect(self) -> None:
        """Delete what has owners and none of them lives, until nothing is left to delete."""
        while orphans := self._orphans():
            for key in orphans:
                self._delete(key, self.objects[key])

    def _tidy(self) -> None:
        if self.collects:
            self.collect()

    def _orphans(self) -> list[ObjectKey]:
        living = {uid_of(item) for item in self.objects.values()}
        return sorted(
            key
            for key, item in self.objects.items()
            if not item["metadata"].get("deletionTimestamp") and _orphaned(item, living)
        )

    def _delete(self, key: ObjectKey, current: Json) -> None:
        metadata = current["metadata"]
        if not metadata.get("finalizers"):
            self._remove(key, current)
        elif not metadata.get("deletionTimestamp"):
            marked = _with_metadata(current, deletionTimestamp=_timestamp(self.now()), deletionGracePeriodSeconds=0)
            if "generation" in metadata:
                marked = _with_metadata(marked, generation=metadata["generation"] + 1)
            self._write(key, current, marked)

    def _remove(self, key: ObjectKey, last: Json) -> None:
        self.version += 1
        del self.objects[key]
        self._note(Change(self.version, key, last, None))

    def _write(self, key: ObjectKey, before: Json | None, item: Json) -> Json:
        self.version += 1
        written = _with_metadata(item, resourceVersion=str(self.version))
        self.objects[key] = written
        self._note(Change(self.version, key, before, written))
        return written

    def _note(self, change: Change) -> None:
        self.history.append(change)
        for listener in tuple(self.listeners):
            listener()

    def _cut(self, items: tuple[Json, ...], version: str, limit: int) -> Page:
        if not limit or len(items) <= limit:
            return Page(items, version)
        token = f"page-{version}-{len(self._pages)}-{len(items)}"
        self._pages[token] = Page(items[limit:], version)
        return Page(items[:limit], version, token)

    def _standing(self, key: ObjectKey) -> Json:
        self._know(key.resource)
        if key not in self.objects:
            raise NotFoundError(f"{key} not found")
        return self.objects[key]

    def _know(self, resource: Resource) -> None:
        if resource not in self.served:
            raise NotFoundError(f"the server could not find the requested resource: {resource}")


def _copy(item: Json) -> dict[str, Any]:
    """A copy through JSON: nothing that a caller does to it reaches the store, and only JSON gets in."""
    copied: dict[str, Any] = json.loads(json.dumps(item))
    return copied


def _fresh(item: Json) -> dict[str, Any]:
    """A copy of what is in the store, and so JSON already: five times as fast as through text."""
    copied: dict[str, Any] = marshal.loads(marshal.dumps(dict(item)))
    return copied


def _with_metadata(item: Json, **fields: Any) -> dict[str, Any]:
    return {**item, "metadata": {**item["metadata"], **fields}}


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(item: Json) -> ObjectKey:
    try:
        key = key_of(item)
    except KeyError as error:
        raise InvalidError(f"the object lacks a name, a namespace or a known kind: {error}") from error
    if key.resource == EVENTS and item.get("involvedObject", {}).get("namespace") != key.namespace:
        raise InvalidError("involvedObject.namespace: does not match event.namespace")
    return key


def _check(key: ObjectKey, current: Json, uid: str, version: str) -> None:
    if uid and uid != uid_of(current):
        raise ConflictError(f"{key}: the uid is {uid_of(current)}, not {uid}")
    if version and version != current["metadata"]["resourceVersion"]:
        raise ConflictError(f"{key}: the object has been modified")


def _admitted(key: ObjectKey, current: Json, merged: dict[str, Any], subresource: str) -> dict[str, Any]:
    """What of a merged object the server takes: a status patch the status alone, any other all but that."""
    if subresource:
        return _with_status(current, merged.get("status"))
    if key.resource in _WITH_STATUS:
        merged = _with_status(merged, current.get("status"))
    before, after = current["metadata"], dict(merged["metadata"])
    for name in ("name", "namespace", "uid"):
        if after.get(name) != before[name]:
            raise InvalidError(f"metadata.{name}: field is immutable")
    if before.get("deletionTimestamp") and set(after.get("finalizers", ())) - set(before.get("finalizers", ())):
        raise InvalidError("metadata.finalizers: no new finalizers can be added if the object is being deleted")
    for name in _SERVERS_OWN:
        after.pop(name, None)
        if name in before:
            after[name] = before[name]
    if key.resource in _WITH_GENERATION and _content(current) != _content(merged):
        after["generation"] = before["generation"] + 1
    return {**merged, "metadata": after}


def _with_status(item: Json, status: Json | None) -> dict[str, Any]:
    without = {name: value for name, value in item.items() if name != "status"}
    return without if status is None else {**without, "status": status}


def _content(item: Json) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("metadata", "status")}


def _orphaned(item: Json, living: set[str]) -> bool:
    """Whether all owners are of kinds that are known here and gone."""
    owners = item["metadata"].get("ownerReferences") or ()
    return bool(owners) and all(
        (owner["apiVersion"], owner["kind"]) in _KNOWN_KINDS and owner["uid"] not in living for owner in owners
    )
