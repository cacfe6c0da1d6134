"""One of several operators leads: a Lease that the leader renews, judged by each one's own monotonic clock.

A leader may write until `RENEW_SECONDS` after it began its last successful renewal; others wait `LEASE_SECONDS` after
the last change they saw. So it stops before another begins, also when it was frozen in between. What was already on the
wire then does little: a status is patched by resourceVersion, a child has a name of its own, is deleted by its uid.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard_operator.cluster.api import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    Writer,
)
from modelyard_operator.cluster.executing import utc_now
from modelyard_operator.kinds.objects import LEASES, Json, ObjectKey, uid_of
from modelyard_operator.runtime.workqueue import loop_time

LEASE_SECONDS = 15
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
LEASE_NAME = "modelyard-operator"

_log = logging.getLogger(__name__)


class LeadershipLostError(Exception):
    """This process leads no more, and must end: what it knows may be old."""


@dataclass
class Elector:
    """A candidate. `clock` is monotonic and goes on while the process is frozen, as the event loop's does."""

    cluster: Writer
    namespace: str
    identity: str
    clock: Callable[[], float] = loop_time
    now: Callable[[], datetime] = utc_now
    _lease: Json | None = None  # as it was seen last
    _seen_at: float = 0.0
    _valid_until: float = float("-inf")

    def leads(self) -> bool:
        """Whether this process may write now."""
        return self.clock() < self._valid_until

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._tried():
            await asyncio.sleep(RETRY_SECONDS)
        _log.info("leading", extra={"identity": self.identity})

    async def hold(self) -> None:
        """Renew for ever; LeadershipLostError when that did not succeed in time, or another one leads."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            left = self._valid_until - self.clock()
            if left > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._tried()
            if not self.leads():
                raise LeadershipLostError(f"the lease {self._key} could not be renewed in time, or is another's")

    async def release(self) -> None:
        """Let another lead at once, trying until that is so. Only when nothing is written any more."""
        held, self._valid_until = self.leads(), float("-inf")
        while held:
            try:
                await self._write({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()})
                return
            except ClusterError as error:
                _log.warning("giving the lease back: %s", error)
            await asyncio.sleep(RETRY_SECONDS / 10)
            with suppress(ClusterError):
                await self._look()
            held = self._holder() == self.identity

    @property
    def _key(self) -> ObjectKey:
        return ObjectKey(LEASES, self.namespace, LEASE_NAME)

    async def _tried(self) -> bool:
        """Whether the lease could be taken or renewed now. A server that does not answer is not a lost lease yet."""
        began = self.clock()
        try:
            if not self.leads():
                await self._look()
            taken = await self._taken()
        except ClusterError as error:
            _log.warning("the lease: %s", error)
            return False
        self._valid_until = began + RENEW_SECONDS if taken else float("-inf")
        return taken

    async def _taken(self) -> bool:
        """Take the lease where it is free or ours; a conflict may be our own write whose answer got lost."""
        for _ in range(2):
            if not self._free():
                return False
            try:
                await self._take()
            except ConflictError:
                await self._look()
            else:
                return True
        return False

    async def _look(self) -> None:
        try:
            self._see(await self.cluster.get(self._key))
        except NotFoundError:
            self._lease = None

    def _see(self, lease: Json) -> None:
        if self._lease is None or lease["metadata"]["resourceVersion"] != self._lease["metadata"]["resourceVersion"]:
            self._seen_at = self.clock()
        self._lease = lease

    def _holder(self) -> str:
        spec = {} if self._lease is None else self._lease.get("spec") or {}
        return spec.get("holderIdentity") or ""

    def _free(self) -> bool:
        if self._lease is None or self._holder() in ("", self.identity):
            return True
        lasts = (self._lease.get("spec") or {}).get("leaseDurationSeconds") or LEASE_SECONDS
        return self.clock() > self._seen_at + lasts

    async def _take(self) -> None:
        stamp = self._stamp()
        spec: dict[str, Any] = {"holderIdentity": self.identity, "leaseDurationSeconds": LEASE_SECONDS}
        spec["renewTime"] = stamp
        if self._lease is None:
            await self._create({**spec, "acquireTime": stamp, "leaseTransitions": 0})
        elif self._holder() == self.identity:
            await self._write(spec)
        else:
            passed = (self._lease.get("spec") or {}).get("leaseTransitions") or 0
            await self._write({**spec, "acquireTime": stamp, "leaseTransitions": passed + 1})

    async def _create(self, spec: Json) -> None:
        metadata = {"name": LEASE_NAME, "namespace": self.namespace}
        lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        try:
            self._see(await self.cluster.create(lease))
        except AlreadyExistsError as error:
            raise ConflictError(str(error)) from error

    async def _write(self, spec: Json) -> None:
        assert self._lease is not None
        version = self._lease["metadata"]["resourceVersion"]
        body = {"spec": spec}
        self._see(await self.cluster.patch(self._key, body, uid=uid_of(self._lease), resource_version=version))

    def _stamp(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Fenced:
    """A door to a cluster through which only a leader writes: each write first asks `leads`."""

    cluster: Writer
    leads: Callable[[], bool]

    async def get(self, key: ObjectKey) -> Json:
        """See `Cluster`."""
        return await self.cluster.get(key)

    async def create(self, item: Json) -> Json:
        """See `Cluster`."""
        self._check()
        return await self.cluster.create(item)

    async def patch(
        self, key: ObjectKey, body: Json, *, uid: str = "", resource_version: str = "", subresource: str = ""
    ) -> Json:
        """See `Cluster`."""
        self._check()
        return await self.cluster.patch(key, body, uid=uid, resource_version=resource_version, subresource=subresource)

    async def delete(self, key: ObjectKey, *, uid: str = "") -> None:
        """See `Cluster`."""
        self._check()
        await self.cluster.delete(key, uid=uid)

    def _check(self) -> None:
        if not self.leads():
            raise LeadershipLostError("not leading any more: nothing is written")
