"""Keeps the cache equal to the server for one kind: a list in pages, then watches, for ever.

A watch that ends goes on where it was; 410 lists again; all else waits, longer each time, with jitter, and goes on.
A kind that the server does not know is asked for again now and then: KubeRay may be installed after us.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from modelyard_operator.cluster.api import Cluster, ClusterError, GoneError, NotFoundError, ThrottledError, WatchEvent
from modelyard_operator.kinds.objects import ObjectKey, Resource, key_of
from modelyard_operator.runtime.cache import Cache
from modelyard_operator.runtime.workqueue import loop_time

PAGE = 100  # of objects of some 10 KB: a page's dicts are the largest thing in memory
WATCH_SECONDS = 300.0  # up to twice that, by jitter, as client-go does
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0
UNSERVED_DELAY_SECONDS = 30.0
SHORT_SECONDS = 1.0  # a watch that ends within it and told nothing is a fault of something between
STANDS_SECONDS = 12.0  # a watch that is open for so long is connected (connecting may take 10)

_log = logging.getLogger(__name__)


@dataclass
class Reflector:
    """One kind's. `synced` once the cache has been complete; `troubled_seconds` since when it may not be any more."""

    cluster: Cluster
    resource: Resource
    cache: Cache
    namespace: str = ""
    labels: str = ""
    jitter: Callable[[], float] = random.random
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _version: str = ""
    _failures: int = 0
    _failing_since: float | None = None
    _watching_since: float | None = None

    async def run(self) -> None:
        """List and watch for ever; only cancelling ends it."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except NotFoundError:
                await self._unserved()
            except ClusterError as error:
                await self._back_off(error)

    def troubled_seconds(self) -> float:
        """For how long the server could not be followed; 0 while it is."""
        if self._failing_since is None:
            return 0.0
        stands = self._watching_since is not None and loop_time() - self._watching_since > STANDS_SECONDS
        return 0.0 if stands else loop_time() - self._failing_since

    async def _list(self) -> None:
        keys: set[ObjectKey] = set()
        more, version = "", ""
        while True:
            page = await self.cluster.list(
                self.resource, namespace=self.namespace, labels=self.labels, limit=PAGE, more=more
            )
            for item in page.items:
                keys.add(key_of(item))
                self.cache.put(item)
            more, version = page.more, page.resource_version
            if not more:
                break
        self.cache.keep(self.resource, keys)
        self._version = version
        self.synced.set()

    async def _watch(self) -> None:
        start = self._watching_since = loop_time()
        told = 0
        async for event in self.cluster.watch(
            self.resource,
            namespace=self.namespace,
            labels=self.labels,
            resource_version=self._version,
            timeout_seconds=WATCH_SECONDS * (1 + self.jitter()),
        ):
            self._take(event)
            self._well()
            told += 1
        if not told and loop_time() - start < SHORT_SECONDS:
            raise ClusterError("the watch ended at once")
        self._well()

    def _take(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            self.cache.drop(key_of(event.item))
        elif event.type != "BOOKMARK":
            self.cache.put(event.item)
        self._version = event.item["metadata"]["resourceVersion"]

    def _well(self) -> None:
        self._failures, self._failing_since = 0, None

    async def _unserved(self) -> None:
        if self.resource in self.cache.served or not self.synced.is_set():
            _log.warning("the API server does not serve %s", self.resource)
        self._version, self._watching_since = "", None
        self.cache.forget(self.resource)
        self._well()
        self.synced.set()
        await asyncio.sleep(UNSERVED_DELAY_SECONDS * (1 + self.jitter()))

    async def _back_off(self, error: ClusterError) -> None:
        if isinstance(error, GoneError):
            self._version = ""
        if self._watching_since is not None and loop_time() - self._watching_since > STANDS_SECONDS:
            self._well()  # it was fine for a while: this is a first failure
        self._watching_since = None
        self._failing_since = loop_time() if self._failing_since is None else self._failing_since
        delay = min(FIRST_DELAY_SECONDS * 2.0 ** min(self._failures, 20), LONGEST_DELAY_SECONDS) * (1 + self.jitter())
        if isinstance(error, ThrottledError):
            delay = max(delay, error.retry_after_seconds)
        self._failures += 1
        _log.warning("following %s: %s; again in %.1f s", self.resource, error, delay)
        await asyncio.sleep(delay)
