"""Gathers a parent and the world around it into one frozen observation, from a cache or straight from a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from modelyard_operator.cluster.api import Cluster
from modelyard_operator.kinds.objects import (
    EVENTS,
    LEASES,
    RESOURCES,
    Json,
    ObjectKey,
    Resource,
    controller_uid,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation, Probe

LOOKED_AT = tuple(resource for resource in RESOURCES if resource not in (EVENTS, LEASES))
Interest: TypeAlias = Callable[[Json], tuple[ObjectKey, ...]]
Probes: TypeAlias = Callable[[Observation], tuple[str, ...]]
Ask: TypeAlias = Callable[[str], Awaitable[Probe]]


@dataclass
class Objects:
    """Objects by key and by the uid of what controls them. `items` may be any mapping, such as a packed one."""

    items: MutableMapping[ObjectKey, Json] = field(default_factory=dict)
    _uids: dict[ObjectKey, tuple[str, str]] = field(default_factory=dict)  # own uid, controller's uid
    _children: dict[str, set[ObjectKey]] = field(default_factory=dict)
    _places: dict[str, ObjectKey] = field(default_factory=dict)
    _kinds: dict[Resource, set[ObjectKey]] = field(default_factory=dict)

    def put(self, key: ObjectKey, item: Json) -> None:
        """Take an object in, in place of an older one."""
        self.drop(key)
        uids = (uid_of(item), controller_uid(item))
        self.items[key], self._uids[key] = item, uids
        self._places[uids[0]] = key
        self._kinds.setdefault(key.resource, set()).add(key)
        if uids[1]:
            self._children.setdefault(uids[1], set()).add(key)

    def drop(self, key: ObjectKey) -> None:
        """Forget an object; nothing happens when there is none."""
        if key not in self._uids:
            return
        own, controller = self._uids.pop(key)
        del self.items[key], self._places[own]
        self._kinds[key.resource].discard(key)
        if controller:
            self._children[controller].discard(key)
            if not self._children[controller]:
                del self._children[controller]

    def lineage(self, key: ObjectKey) -> list[ObjectKey]:
        """The object, what controls it, what controls that, as far as it is known here; never one twice."""
        line = [key]
        while (above := self._places.get(self._uids.get(line[-1], ("", ""))[1])) is not None and above not in line:
            line.append(above)
        return line

    def keys(self, resource: Resource) -> frozenset[ObjectKey]:
        """Where the objects of a kind lie."""
        return frozenset(self._kinds.get(resource, ()))

    def count(self, resource: Resource) -> int:
        """How many objects there are of a kind."""
        return len(self._kinds.get(resource, ()))

    def owned(self, uid: str) -> Iterator[ObjectKey]:
        """What an object controls, at any depth; never twice, though owners be a circle."""
        seen, waiting = {uid}, [uid]
        while waiting:
            for key in sorted(self._children.get(waiting.pop(), ())):
                yield key
                own = self._uids[key][0]
                if own not in seen:
                    seen.add(own)
                    waiting.append(own)


def gather(
    objects: Objects, key: ObjectKey, interest: Interest, now: datetime, served: frozenset[Resource]
) -> Observation | None:
    """The observation of a parent as the objects show it, without probes; None when there is no such parent."""
    parent = objects.items.get(key)
    if parent is None:
        return None
    wanted = {*objects.owned(uid_of(parent)), *interest(parent)} - {key}
    around = {other: item for other in sorted(wanted) if (item := objects.items.get(other)) is not None}
    return Observation(now=now, parent=parent, objects=around, served=served)


async def objects_of(cluster: Cluster, namespace: str, served: frozenset[Resource]) -> Objects:
    """All that a plan may look at in a namespace, read from the server now."""
    objects = Objects()
    for resource in LOOKED_AT:
        more = ""
        while resource in served:
            page = await cluster.list(resource, namespace=namespace, more=more)
            for item in page.items:
                objects.put(ObjectKey(resource, namespace, item["metadata"]["name"]), item)
            more = page.more
            if not more:
                break
    return objects


async def probed(observation: Observation, probes: Probes, ask: Ask) -> Observation:
    """The observation with the answers of the endpoints that its plan wants asked, all at once."""
    urls = probes(observation)
    answers = await asyncio.gather(*(ask(url) for url in urls))
    return replace(observation, probes=dict(zip(urls, answers, strict=True)))


async def observe(
    source: Cluster | Objects,
    key: ObjectKey,
    interest: Interest,
    *,
    probes: Probes = lambda _: (),
    ask: Ask | None = None,
    now: datetime | None = None,
    served: frozenset[Resource] | None = None,
) -> Observation | None:
    """Observe a parent: from a cache as it stands, or from a server by listing its namespace. None: it is gone.

    `served` is asked of a server when it is not given; a cache needs it. Without `ask` nothing is probed.
    """
    if not isinstance(source, Objects):
        served = await source.served() if served is None else served
        source = await objects_of(source, key.namespace, served)
    observation = gather(source, key, interest, now or datetime.now(UTC), served or frozenset())
    return observation if observation is None or ask is None else await probed(observation, probes, ask)
