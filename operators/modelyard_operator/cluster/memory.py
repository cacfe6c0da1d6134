"""The in-memory twin of an API server: the same door as `rest`, with a hook before and after every call.

The hook is how faults are planted: what it raises before a call is a call that never reached the server (a crash, a
409, a 429, a 500), what it raises after it is an answer that got lost (a crash, a time-out) though the server acted.
Tests use it; nothing of it runs in a cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from modelyard_operator.cluster.api import Page, WatchEvent
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.objects import Json, ObjectKey, Resource, key_of

Verb = Literal["get", "list", "watch", "create", "patch", "delete", "served"]
WRITES: frozenset[Verb] = frozenset({"create", "patch", "delete"})


@dataclass(frozen=True)
class Call:
    """A call as the hook sees it. `name` is empty for a list or watch; of a watch, `after` comes before each event."""

    verb: Verb
    resource: Resource | None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: Json | None = field(default=None, compare=False)

    @property
    def writes(self) -> bool:
        """Whether the call changes something."""
        return self.verb in WRITES

    def __str__(self) -> str:
        place = "/".join(
            part for part in (str(self.resource or ""), self.namespace, self.name, self.subresource) if part
        )
        return f"{self.verb} {place}"


Hook: TypeAlias = Callable[[Literal["before", "after"], Call], None]


def _nothing(_moment: str, _call: Call) -> None:
    """The hook of a server without faults."""


class MemoryCluster:
    """A door to a store. Several doors, each with a hook of its own, may lead to one store: one for each actor."""

    def __init__(self, store: Store | None = None, hook: Hook = _nothing) -> None:
        self.store = Store() if store is None else store
        self.hook = hook

    async def get(self, key: ObjectKey) -> Json:
        """See `Cluster`."""
        call = Call("get", *key)
        self.hook("before", call)
        item = self.store.get(key)
        self.hook("after", call)
        return item

    async def list(
        self, resource: Resource, *, namespace: str = "", labels: str = "", limit: int = 500, more: str = ""
    ) -> Page:
        """See `Cluster`."""
        call = Call("list", resource, namespace)
        self.hook("before", call)
        page = self.store.page(resource, namespace, labels, limit, more)
        self.hook("after", call)
        return page

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncIterator[WatchEvent]:
        """See `Cluster`. The last thing told before the time-out is a bookmark, as the real server does."""
        call = Call("watch", resource, namespace)
        self.hook("before", call)
        position, news = int(resource_version), asyncio.Event()
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        self.store.listeners.append(news.set)
        try:
            while True:
                news.clear()
                for change in self.store.changes(resource, position):
                    position = change.version
                    event = change.seen(namespace, labels)
                    if event is not None:
                        self.hook("after", call)
                        yield event
                position = max(position, self.store.version) if not news.is_set() else position
                if not news.is_set() and not await _rings(news, deadline):
                    break
            self.hook("after", call)
            yield WatchEvent("BOOKMARK", _bookmark(resource, position))
        finally:
            self.store.listeners.remove(news.set)

    async def create(self, item: Json) -> Json:
        """See `Cluster`."""
        call = Call("create", *key_of(item), body=item)
        self.hook("before", call)
        created = self.store.create(item)
        self.hook("after", call)
        return created

    async def patch(
        self, key: ObjectKey, body: Json, *, uid: str = "", resource_version: str = "", subresource: str = ""
    ) -> Json:
        """See `Cluster`."""
        call = Call("patch", *key, subresource=subresource, body=body)
        self.hook("before", call)
        patched = self.store.patch(key, body, uid, resource_version, subresource)
        self.hook("after", call)
        return patched

    async def delete(self, key: ObjectKey, *, uid: str = "") -> None:
        """See `Cluster`."""
        call = Call("delete", *key)
        self.hook("before", call)
        self.store.delete(key, uid)
        self.hook("after", call)

    async def served(self) -> frozenset[Resource]:
        """See `Cluster`."""
        call = Call("served", None)
        self.hook("before", call)
        self.hook("after", call)
        return self.store.served


async def _rings(news: asyncio.Event, deadline: float) -> bool:
    """Whether something was written before the deadline (on the loop's clock)."""
    try:
        async with asyncio.timeout_at(deadline):
            await news.wait()
    except TimeoutError:
        return False
    return True


def _bookmark(resource: Resource, version: int) -> Json:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"resourceVersion": str(version)}}
