"""From changes to deeds: which parents a change concerns, and one look at a parent: observe, plan, execute."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from modelyard_operator.cluster.api import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ThrottledError,
    Writer,
)
from modelyard_operator.cluster.executing import execute, utc_now
from modelyard_operator.cluster.observing import Ask, Interest, Probes, observe
from modelyard_operator.kinds.actions import Action, Requeue
from modelyard_operator.kinds.objects import OURS, Json, ObjectKey
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan.refusals import complaint
from modelyard_operator.runtime.cache import Cache
from modelyard_operator.runtime.election import LeadershipLostError
from modelyard_operator.runtime.logs import OBJECT
from modelyard_operator.runtime.metrics import Metrics
from modelyard_operator.runtime.workqueue import QueueClosedError, WorkQueue, loop_time

STUCK_SECONDS = 300.0  # calls end after 30: a look that lasts so long never ends

_log = logging.getLogger(__name__)


class StaleError(Exception):
    """The cache does not hold the parent as it is now: nothing is written on that ground."""


@dataclass(frozen=True)
class Planner:
    """The pure half: what to do, at what else to look, whom to ask first."""

    plan: Callable[[Observation], Sequence[Action]]
    interest: Interest
    probes: Probes


@dataclass
class Controller:
    """Workers call `work`; the cache tells `changed`. `cluster` is the fenced door."""

    cluster: Writer
    cache: Cache
    queue: WorkQueue
    planner: Planner
    ask: Ask
    metrics: Metrics
    now: Callable[[], datetime] = utc_now
    _interests: dict[ObjectKey, tuple[ObjectKey, ...]] = field(default_factory=dict)  # of a parent
    _interested: dict[ObjectKey, set[ObjectKey]] = field(default_factory=dict)  # in an object
    _refusals: dict[ObjectKey, str] = field(default_factory=dict)  # what the server said to the last plan of a parent
    _looking: dict[ObjectKey, float] = field(default_factory=dict)  # since when

    def changed(self, lineage: list[ObjectKey]) -> None:
        """An object changed: every parent above it, and every one that is interested in it, is looked at."""
        for key in lineage:
            if key.resource in OURS:
                self.queue.add(key)
        for key in self._interested.get(lineage[0], ()):
            self.queue.add(key)

    async def work(self) -> None:
        """Look at one parent after the other until the queue closes."""
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            OBJECT.set(key)
            self._looking[key] = loop_time()
            try:
                await self._attempt(key)
            finally:
                began = self._looking.pop(key)
                self.metrics.reconcile_seconds.labels(key.resource.kind).observe(loop_time() - began)
                self.queue.done(key)
                OBJECT.set(None)

    def stuck(self) -> list[ObjectKey]:
        """Parents at which a worker has looked for too long."""
        limit = loop_time() - STUCK_SECONDS
        return [key for key, since in self._looking.items() if since < limit]

    async def _attempt(self, key: ObjectKey) -> None:
        """One look, and when the next is due: a fault of the cluster or of ours comes again later, and is counted."""
        try:
            after = await self._look(key)
        except (StaleError, ConflictError, AlreadyExistsError) as error:
            _log.info("looked too early: %s; again in %.1f s", error, self._failed(key, error))
        except ThrottledError as error:
            _log.warning("%s; again in %.1f s", error, self._failed(key, error, error.retry_after_seconds))
        except (InvalidError, ForbiddenError) as error:
            _log.warning("%s; again in %.1f s", error, self._failed(key, error))
            await self._complain(key, error)
        except ClusterError as error:
            _log.warning("%s; again in %.1f s", error, self._failed(key, error))
        except LeadershipLostError:
            raise
        except Exception as error:  # a fault of a plan concerns one object; the others are looked at
            _log.exception("a fault of the operator; again in %.1f s", self._failed(key, error))
        else:
            self.queue.succeed(key)
            if self._refusals.pop(key, ""):
                self.queue.add(key)  # the status still tells of it
            elif after is not None:
                self.queue.add_after(key, after)

    def _failed(self, key: ObjectKey, error: Exception, at_least_seconds: float = 0.0) -> float:
        self.metrics.reconcile_errors.labels(key.resource.kind, type(error).__name__).inc()
        return self.queue.fail(key, at_least_seconds)

    async def _complain(self, key: ObjectKey, error: ClusterError) -> None:
        """A refusal (a quota, a webhook, a missing permission) is for the parent's owner to read."""
        self._refusals[key] = str(error)
        with suppress(ClusterError):
            parent = await self.cluster.get(key)  # the plan may have written its status before it was refused
            await execute(self.cluster, parent, complaint(parent, str(error), self.now()), self.now)

    async def _look(self, key: ObjectKey) -> float | None:
        """Observe, plan, execute; returns after how many seconds the clock wants it looked at again."""
        observation = await observe(
            self.cache.objects,
            key,
            self._noting(key),
            probes=self.planner.probes,
            ask=self.ask,
            now=self.now(),
            served=self.cache.served,
        )
        if observation is None:
            self._note(key, ())
            return None
        observation = replace(observation, refusal=self._refusals.get(key, ""))
        actions = self.planner.plan(observation)
        if any(not isinstance(action, Requeue) for action in actions):
            await self._check(key, observation.parent)
            _log.info("%s", ", ".join(_named(action) for action in actions))
        return await execute(self.cluster, observation.parent, actions, self.now)

    async def _check(self, key: ObjectKey, parent: Json) -> None:
        """Caches of several kinds are not of one moment: what we wrote ourselves may show in one and not in another."""
        try:
            current = await self.cluster.get(key)
        except NotFoundError as error:
            raise StaleError(f"{key} is gone") from error
        if current["metadata"]["resourceVersion"] != parent["metadata"]["resourceVersion"]:
            raise StaleError(f"{key} is newer than the cache")

    def _noting(self, key: ObjectKey) -> Interest:
        def noted(parent: Json) -> tuple[ObjectKey, ...]:
            keys = self.planner.interest(parent)
            self._note(key, keys)
            return keys

        return noted

    def _note(self, key: ObjectKey, keys: tuple[ObjectKey, ...]) -> None:
        before = self._interests.pop(key, ())
        if keys:
            self._interests[key] = keys
        for other in set(before) - set(keys):
            self._interested[other].discard(key)
            if not self._interested[other]:
                del self._interested[other]
        for other in keys:
            self._interested.setdefault(other, set()).add(key)


def _named(action: Action) -> str:
    """An action for the log, without what it writes."""
    match action:
        case Requeue(seconds):
            return f"Requeue {seconds:.0f} s"
        case _ if hasattr(action, "key"):
            return f"{type(action).__name__} {action.key}"
        case _ if hasattr(action, "item"):
            return f"{type(action).__name__} {action.item['kind']}/{action.item['metadata']['name']}"
        case _:
            return f"{type(action).__name__} {action.reason}"
