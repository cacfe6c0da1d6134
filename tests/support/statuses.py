"""A status of each kind with every field set: what the schema must hold and a server must keep."""

from __future__ import annotations

from typing import Any

from modelyard.records import StatusDocument
from modelyard.records.status import (
    CheckpointState,
    Condition,
    FailureDigest,
    FailurePlace,
    Metrics,
    MetricValue,
    ModelState,
    Progress,
)

TIME = "2026-11-22T10:00:00Z"
FULL = {
    "TrainingJob": {
        "phase": "Training",
        "jobName": "small-12345678-1",
        "dashboardUrl": "http://small-12345678-1-head-svc.team.svc.cluster.local:8265",
    },
    "EvaluationJob": {
        "phase": "Running",
        "jobName": "small-12345678-1",
        "dashboardUrl": "http://small-12345678-1-head-svc.team.svc.cluster.local:8265",
    },
    "ModelDeployment": {
        "phase": "Ready",
        "replicas": 3,
        "readyReplicas": 2,
        "selector": "ray.io/cluster=answers",
        "serviceName": "answers-12345678",
    },
}


def full_status(kind: str) -> dict[str, Any]:
    """Every field of the status document, and every one that the operator adds for this kind."""
    document = StatusDocument(
        kind=kind,
        name="small",
        conditions=(
            Condition(
                type="Accepted",
                status="True",
                reason="ManifestAccepted",
                message="it resolves",
                last_transition_time=TIME,
                observed_generation=1,
            ),
            Condition(type="Progressing", status="True", reason="Training", message="", last_transition_time=TIME),
        ),
        observed_generation=1,
        run_id="team.small-0123abcd",
        attempts=2,
        start_time=TIME,
        completion_time=TIME,
        progress=Progress(
            stage="train", step=120, total_steps=480, tokens=245760, tokens_per_second=2048.5, eta_seconds=12.5
        ),
        metrics=Metrics(
            loss=2.5,
            validation_loss=2.75,
            evaluation=(
                MetricValue(
                    suite="heldout", metric="bits_per_byte", value=2.25, low=2.125, high=2.375, items=64, unscored=1
                ),
            ),
        ),
        checkpoint=CheckpointState(step=100, path="train/checkpoints/step-00000100", time=TIME),
        model=ModelState(name="small", version=3, digest="sha256:" + "0" * 64),
        verdict="Passed",
        last_failure=FailureDigest(
            failure_class="WorkerLost",
            message="worker 1 is gone",
            where=FailurePlace(stage="train", rank=1, step=110, file="loop.py:12"),
            evidence=("first", "second"),
            hint="look at its node",
            retryable=True,
        ),
        url="http://answers.team.svc.cluster.local:8000",
    )
    kept = {name: value for name, value in document.to_dict().items() if name not in {"kind", "name"}}
    return {**kept, **FULL[kind]}
