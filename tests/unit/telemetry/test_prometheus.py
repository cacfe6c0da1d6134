"""Names of metrics are a promise."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from modelyard.telemetry.prometheus import train_metrics


def test_names_carry_their_units() -> None:
    registry = CollectorRegistry()
    metrics = train_metrics(registry)
    metrics.tokens_total.labels("job-0123abcd").inc(2048)
    assert registry.get_sample_value("modelyard_train_tokens_total", {"run": "job-0123abcd"}) == 2048
    assert sorted(family.name for family in registry.collect()) == [
        "modelyard_train_checkpoint_seconds",
        "modelyard_train_commits",
        "modelyard_train_gradient_norm",
        "modelyard_train_learning_rate",
        "modelyard_train_loss",
        "modelyard_train_restarts",
        "modelyard_train_step",
        "modelyard_train_step_seconds",
        "modelyard_train_tokens",
    ]
