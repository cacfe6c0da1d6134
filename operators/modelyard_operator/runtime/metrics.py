"""What Prometheus is told: `modelyard_operator_*`, and the process's own memory and CPU."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The operator's counters, each with one meaning, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter is two series
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.queue_depth = self._gauge("queue_depth", "Objects that wait for a worker.")
        self.objects = self._gauge("cached_objects", "Objects in the cache.", "resource")
        self.leader = self._gauge("leader", "1 while this process leads.")
        self.reconcile_seconds = Histogram(
            "modelyard_operator_reconcile_seconds",
            "How long one look at an object took, its calls included.",
            ["kind"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.reconcile_errors = self._counter("reconcile_errors", "Looks that ended early.", "kind", "error")
        self.api_calls = self._counter("api_calls", "Calls of the API server; code 0: no answer.", "verb", "code")

    def called(self, verb: str, code: int) -> None:
        """A call of the API server was answered, or not."""
        self.api_calls.labels(verb, str(code)).inc()

    def exposed(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"modelyard_operator_{name}", about, labels, registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"modelyard_operator_{name}", about, labels, registry=self.registry)
