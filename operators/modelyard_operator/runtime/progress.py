"""What jobs and deployments tell of themselves, as Prometheus series: `modelyard_train_*` and each object's phase.

Read from the cache when Prometheus asks, each object once a version: a scrape costs what changed since the one before.
Only a leader tells, so that two operators do not count everything twice. Series carry the object's own namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelyard_operator.kinds.conditions import AVAILABLE, FAILED, is_true
from modelyard_operator.kinds.objects import MODEL_DEPLOYMENTS, OURS, TRAINING_JOBS, Json, ObjectKey, Resource
from modelyard_operator.plan.reading import dig
from modelyard_operator.runtime.cache import Cache

_OBJECT = ("namespace", "name")


class _Gauge(NamedTuple):
    name: str
    about: str
    kind: Resource
    path: tuple[str, ...]  # below .status


_GAUGES = (
    _Gauge("modelyard_train_step", "Optimizer steps done.", TRAINING_JOBS, ("progress", "step")),
    _Gauge("modelyard_train_total_steps", "Optimizer steps in all.", TRAINING_JOBS, ("progress", "totalSteps")),
    _Gauge("modelyard_train_tokens", "Tokens trained on, as of the last step.", TRAINING_JOBS, ("progress", "tokens")),
    _Gauge(
        "modelyard_train_tokens_per_second", "Over all workers.", TRAINING_JOBS, ("progress", "tokensPerSecond")
    ),
    _Gauge("modelyard_train_eta_seconds", "Time that is left.", TRAINING_JOBS, ("progress", "etaSeconds")),
    _Gauge("modelyard_train_loss", "Last training loss, nats per token.", TRAINING_JOBS, ("metrics", "loss")),
    _Gauge(
        "modelyard_train_validation_loss", "Last validation loss, nats per token.", TRAINING_JOBS,
        ("metrics", "validationLoss"),
    ),
    _Gauge("modelyard_train_committed_step", "Step of the newest commit.", TRAINING_JOBS, ("checkpoint", "step")),
    _Gauge("modelyard_train_attempts", "Drivers that were started.", TRAINING_JOBS, ("attempts",)),
    _Gauge("modelyard_operator_replicas", "Replicas that there are.", MODEL_DEPLOYMENTS, ("replicas",)),
    _Gauge("modelyard_operator_ready_replicas", "Replicas that answer.", MODEL_DEPLOYMENTS, ("readyReplicas",)),
)  # fmt: skip


class _Told(NamedTuple):
    """What one version of an object tells."""

    version: str
    phase: str
    failure: str  # its class, of a job that has failed for good
    available: bool
    values: tuple[tuple[_Gauge, float], ...]


class Progress(Collector):
    """Register it: `metrics.registry.register(Progress(cache, elector.leads))`."""

    def __init__(self, cache: Cache, leads: Callable[[], bool] = lambda: True) -> None:
        self._cache = cache
        self._leads = leads
        self._told: dict[ObjectKey, _Told] = {}

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        self._look()
        families = {gauge: GaugeMetricFamily(gauge.name, gauge.about, labels=_OBJECT) for gauge in _GAUGES}
        phase = GaugeMetricFamily("modelyard_operator_phase", "1 of the phase.", labels=("kind", *_OBJECT, "phase"))
        failed = GaugeMetricFamily(
            "modelyard_operator_failed", "1: failed for good.", labels=("kind", *_OBJECT, "class")
        )
        available = GaugeMetricFamily("modelyard_operator_available", "1: it answers.", labels=_OBJECT)
        for key, told in self._told.items():
            place = (key.namespace, key.name)
            phase.add_metric((key.resource.kind, *place, told.phase), 1)
            if told.failure:
                failed.add_metric((key.resource.kind, *place, told.failure), 1)
            if key.resource == MODEL_DEPLOYMENTS:
                available.add_metric(place, float(told.available))
            for gauge, value in told.values:
                families[gauge].add_metric(place, value)
        yield from (phase, failed, available, *families.values())

    def _look(self) -> None:
        """Bring what is told up to the cache."""
        objects = self._cache.objects
        keys = [key for resource in OURS for key in objects.keys(resource)] if self._leads() else []
        before, self._told = self._told, {}
        for key in keys:
            told, version = before.get(key), self._cache.version(key)
            self._told[key] = told if told and told.version == version else _read(key, version, objects.items[key])


def _read(key: ObjectKey, version: str, item: Json) -> _Told:
    status = item.get("status") or {}
    found = ((gauge, dig(status, *gauge.path)) for gauge in _GAUGES if gauge.kind == key.resource)
    values = tuple((gauge, float(value)) for gauge, value in found if isinstance(value, int | float))
    failure = str(dig(status, "lastFailure", "class") or "Internal") if is_true(item, FAILED) else ""
    return _Told(version, status.get("phase") or "Pending", failure, is_true(item, AVAILABLE), values)
