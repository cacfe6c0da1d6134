"""The `modelyard_train_*` metrics. Definitions only: who serves or pushes the registry decides that."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class TrainMetrics:
    """What a training run tells Prometheus; each carries the label `run`."""

    step: Gauge
    loss: Gauge
    learning_rate: Gauge
    gradient_norm: Gauge
    tokens_total: Counter
    step_seconds: Histogram
    checkpoint_seconds: Histogram
    commits_total: Counter
    restarts_total: Counter


def train_metrics(registry: CollectorRegistry) -> TrainMetrics:
    """Define the metrics in a registry of the caller's own."""
    labels = ["run"]
    seconds = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    return TrainMetrics(
        step=Gauge("modelyard_train_step", "The last finished step.", labels, registry=registry),
        loss=Gauge("modelyard_train_loss", "Loss of the last step, nats per token.", labels, registry=registry),
        learning_rate=Gauge(
            "modelyard_train_learning_rate", "Learning rate of the last step.", labels, registry=registry
        ),
        gradient_norm=Gauge("modelyard_train_gradient_norm", "Norm before clipping.", labels, registry=registry),
        tokens_total=Counter("modelyard_train_tokens", "Tokens trained on.", labels, registry=registry),
        step_seconds=Histogram(
            "modelyard_train_step_seconds", "Wall time of a step.", labels, buckets=seconds, registry=registry
        ),
        checkpoint_seconds=Histogram(
            "modelyard_train_checkpoint_seconds", "Wall time of a commit.", labels, buckets=seconds, registry=registry
        ),
        commits_total=Counter("modelyard_train_commits", "Checkpoints committed.", labels, registry=registry),
        restarts_total=Counter("modelyard_train_restarts", "Restarts of the worker group.", labels, registry=registry),
    )
