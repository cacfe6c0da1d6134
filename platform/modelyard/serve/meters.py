"""The gateway's Prometheus metrics, under vLLM's names so that its dashboards and autoscalers work.

Values of all replicas on a machine meet in one folder (prometheus_client's multiprocess mode), so that `/metrics` of
any replica tells the whole: counters and histograms add up, gauges are summed over living processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client import multiprocess as shared
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Meters", "share_metrics"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # series that no dashboard reads

# vLLM's buckets (vllm/v1/metrics/loggers.py), shortened to what a small engine reaches.
_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_E2E = (
    0.05,
    0.1,
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
    120.0,
    240.0,
    480.0,
)
_INTER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)


def share_metrics(folder: Path) -> None:
    """From here on, this process keeps its values in `folder`, with those of the other replicas of this machine.

    Ray's own processes must not, so this is no variable of the environment that they would inherit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


class Meters:
    """One replica's instruments, labelled with the model's name."""

    def __init__(self, model_name: str) -> None:
        self._folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
        self.registry = CollectorRegistry()
        label = ("model_name",)

        def gauge(name: str, words: str) -> Gauge:
            made = Gauge(name, words, label, registry=self.registry, multiprocess_mode="livesum")
            return made.labels(model_name)

        def counter(name: str, words: str) -> Counter:
            return Counter(name, words, label, registry=self.registry).labels(model_name)

        def histogram(name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, words, label, registry=self.registry, buckets=buckets).labels(model_name)

        self.running = gauge("vllm:num_requests_running", "Sequences in the batch.")
        self.waiting = gauge("vllm:num_requests_waiting", "Sequences waiting for a place in the batch.")
        self.prompt_tokens = counter("vllm:prompt_tokens", "Prompt tokens processed.")
        self.generation_tokens = counter("vllm:generation_tokens", "Tokens generated.")
        self.time_to_first_token = histogram("vllm:time_to_first_token_seconds", "From arrival to first token.", _TTFT)
        self.inter_token = histogram("vllm:inter_token_latency_seconds", "Between two tokens.", _INTER_TOKEN)
        self.e2e = histogram("vllm:e2e_request_latency_seconds", "From arrival to last token.", _E2E)
        self._success = Counter(
            "vllm:request_success", "Answers completed.", ("model_name", "finished_reason"), registry=self.registry
        )
        self._refused = Counter(
            "modelyard_serve_refused_requests", "Requests refused.", ("model_name", "status"), registry=self.registry
        )
        self._name = model_name

    def success(self, finish_reason: str) -> None:
        self._success.labels(self._name, finish_reason).inc()

    def refused(self, status: int) -> None:
        self._refused.labels(self._name, str(status)).inc()

    def render(self, *, is_alive: Callable[[int], bool]) -> bytes:
        """The exposition text, over all replicas that share the folder."""
        if not self._folder:
            return generate_latest(self.registry)
        for file in Path(self._folder).glob("gauge_live*_*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not is_alive(pid):
                shared.mark_process_dead(pid, self._folder)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        shared.MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
