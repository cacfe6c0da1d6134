"""The status document: one schema for the local `status.json` and the custom resource's `.status`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.errors import FailureClass
from modelyard.records.record import Part, Record

Verdict = Literal["Passed", "Failed", "Inconclusive", "Error"]
Phase = Literal[
    "Pending", "Preparing", "Training", "Evaluating", "Registering", "Running", "Deploying", "Ready",
    "Degraded", "Succeeded", "Failed", "Suspended",
]  # fmt: skip


class Condition(Part):
    """A Kubernetes condition."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: str
    observed_generation: int | None = None


class FailurePlace(Part):
    """Where it failed; each field only when known."""

    stage: str | None = None
    rank: int | None = None
    step: int | None = None
    file: str | None = None


class FailureDigest(Part):
    """Why a run failed, for a person at night: at most 20 lines of evidence, 4 KiB, the first cause."""

    failure_class: FailureClass = Field(alias="class")
    message: str
    where: FailurePlace = FailurePlace()
    evidence: tuple[str, ...] = ()
    hint: str = ""
    retryable: bool = False


class Progress(Part):
    """How far the run is. `stage` is prepare, train, evaluate or register."""

    stage: str
    step: int = 0
    total_steps: int | None = None
    tokens: int = 0
    tokens_per_second: float | None = None
    eta_seconds: float | None = None


class MetricValue(Part):
    """One metric with its 95 % interval; `items` were scored, `unscored` could not be."""

    suite: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    items: int = 0
    unscored: int = 0


class Metrics(Part):
    """The last training loss (nats per token) and what the evaluate stage measured."""

    loss: float | None = None
    validation_loss: float | None = None
    evaluation: tuple[MetricValue, ...] = ()


class CheckpointState(Part):
    """The newest commit; `path` is relative to the run's folder."""

    step: int
    path: str
    time: str


class ModelState(Part):
    """The registered version; `digest` is the version's (sha256 over its files)."""

    name: str
    version: int
    digest: str


class StatusDocument(Record):
    """What is so about a run, at every moment."""

    kind: str
    name: str
    phase: Phase = "Pending"
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None
    run_id: str | None = None
    attempts: int = 0
    start_time: str | None = None
    completion_time: str | None = None
    progress: Progress | None = None
    metrics: Metrics = Metrics()
    checkpoint: CheckpointState | None = None
    model: ModelState | None = None
    verdict: Verdict | None = None
    last_failure: FailureDigest | None = None
    url: str | None = None
