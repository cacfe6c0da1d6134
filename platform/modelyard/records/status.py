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

    type: str = Field(description="What it tells about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: str = Field("", description="Why, in a sentence.")
    last_transition_time: str = Field(description="Since when the status is what it is.")
    observed_generation: int | None = Field(None, description="The generation of the spec that was judged.")


class FailurePlace(Part):
    """Where it failed; each field only when known."""

    stage: str | None = Field(None, description="Stage of the run.")
    rank: int | None = Field(None, description="Worker, counted from 0.")
    step: int | None = Field(None, description="Optimizer step.")
    file: str | None = Field(None, description="File and line.")


class FailureDigest(Part):
    """Why a run failed, for a person at night: at most 20 lines of evidence, 4 KiB, the first cause."""

    failure_class: FailureClass = Field(alias="class", description="What kind of failure it was.")
    message: str = Field(description="What happened, in a sentence to act on.")
    where: FailurePlace = Field(FailurePlace(), description="Where it happened.")
    evidence: tuple[str, ...] = Field((), description="The lines of logs that matter, the first cause first.")
    hint: str = Field("", description="What to do about it.")
    retryable: bool = Field(False, description="Whether trying again may help.")


class Progress(Part):
    """How far the run is. `stage` is prepare, train, evaluate or register."""

    stage: str = Field(description="What is being done: prepare, train, evaluate or register.")
    step: int = Field(0, description="Optimizer steps done.")
    total_steps: int | None = Field(None, description="Optimizer steps in all.")
    tokens: int = Field(0, description="Positions trained on.")
    tokens_per_second: float | None = Field(None, description="Positions per second over all workers.")
    eta_seconds: float | None = Field(None, description="Seconds that the stage will still take.")


class MetricValue(Part):
    """One metric with its 95 % interval; `items` were scored, `unscored` could not be."""

    suite: str = Field(description="Name of the suite.")
    metric: str = Field(description="Name of the metric.")
    value: float = Field(description="Its value.")
    low: float | None = Field(None, description="Lower end of its 95 % interval.")
    high: float | None = Field(None, description="Upper end of its 95 % interval.")
    items: int = Field(0, description="Items that were scored.")
    unscored: int = Field(0, description="Items that could not be scored.")


class Metrics(Part):
    """The last training loss (nats per token) and what the evaluate stage measured."""

    loss: float | None = Field(None, description="Last training loss, in nats per token.")
    validation_loss: float | None = Field(None, description="Last loss on the validation documents.")
    evaluation: tuple[MetricValue, ...] = Field((), description="What the suites gave.")


class CheckpointState(Part):
    """The newest commit; `path` is relative to the run's folder."""

    step: int = Field(description="Its step.")
    path: str = Field(description="Its folder, below the run's.")
    time: str = Field(description="When it was committed.")


class ModelState(Part):
    """The registered version; `digest` is the version's (sha256 over its files)."""

    name: str = Field(description="Name of the model in the registry.")
    version: int = Field(description="Number of the version.")
    digest: str = Field(description="Digest of the version's files.")


class StatusDocument(Record):
    """What is so about a run, at every moment."""

    kind: str = Field(description="Kind of the manifest.")
    name: str = Field(description="Name of the manifest.")
    phase: Phase = Field("Pending", description="A summary for people; programs read conditions.")
    conditions: tuple[Condition, ...] = Field((), description="What is so, and since when.")
    observed_generation: int | None = Field(None, description="The generation of the spec that was looked at last.")
    run_id: str | None = Field(None, description="The run: its folder in the yard.")
    attempts: int = Field(0, description="Drivers that were started.")
    start_time: str | None = Field(None, description="When the first attempt started.")
    completion_time: str | None = Field(None, description="When it ended for good.")
    progress: Progress | None = Field(None, description="How far it is.")
    metrics: Metrics = Field(Metrics(), description="What was measured.")
    checkpoint: CheckpointState | None = Field(None, description="The newest commit.")
    model: ModelState | None = Field(None, description="The version that was registered or evaluated, or that serves.")
    verdict: Verdict | None = Field(None, description="The verdict of the evaluation.")
    last_failure: FailureDigest | None = Field(None, description="Why the last attempt failed.")
    url: str | None = Field(None, description="Where the model answers.")
