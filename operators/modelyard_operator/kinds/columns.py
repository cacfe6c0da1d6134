"""What `kubectl get` prints of each kind; the columns of priority 1 only with `-o wide`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Column(NamedTuple):
    """One column: `type` is integer, number, string or date, `path` a JSONPath from the object's root."""

    name: str
    type: str
    path: str
    description: str
    wide: bool = False

    def to_dict(self) -> dict[str, Any]:
        """An item of additionalPrinterColumns."""
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
            "priority": int(self.wide),
        }


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_PHASE = Column("Phase", "string", ".status.phase", "Where it stands, in one word.")
_REASON = Column("Reason", "string", _condition("Progressing", "reason"), "Why it stands there.")
_AGE = Column("Age", "date", ".metadata.creationTimestamp", "Time since it was created.")
_ATTEMPTS = Column("Attempts", "integer", ".status.attempts", "Drivers that were started.", wide=True)
_RUN = Column("Run", "string", ".status.runId", "The run's folder in the yard.", wide=True)
_QUEUE = Column("Queue", "string", ".spec.runtime.queue", "Kueue queue.", wide=True)

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "TrainingJob": (
        _PHASE,
        Column("Step", "integer", ".status.progress.step", "Optimizer steps done."),
        Column("Loss", "number", ".status.metrics.loss", "Last training loss, in nats per token."),
        Column("Tokens/s", "number", ".status.progress.tokensPerSecond", "Tokens per second over all workers."),
        _REASON,
        _AGE,
        Column("Steps", "integer", ".status.progress.totalSteps", "Optimizer steps in all.", wide=True),
        Column("ETA", "number", ".status.progress.etaSeconds", "Seconds that are left.", wide=True),
        Column("Commit", "integer", ".status.checkpoint.step", "Step of the newest commit.", wide=True),
        _ATTEMPTS,
        Column("Model", "string", ".spec.register.name", "Name of the model in the registry.", wide=True),
        Column("Version", "integer", ".status.model.version", "The registered version.", wide=True),
        _QUEUE,
        _RUN,
    ),
    "EvaluationJob": (
        _PHASE,
        Column("Verdict", "string", ".status.verdict", "Passed, Failed, Inconclusive or Error."),
        Column("Metric", "string", ".status.metrics.evaluation[0].metric", "A gated metric, else the first."),
        Column("Value", "number", ".status.metrics.evaluation[0].value", "Its value."),
        _REASON,
        _AGE,
        Column("Suite", "string", ".status.metrics.evaluation[0].suite", "The metric's suite.", wide=True),
        Column("Low", "number", ".status.metrics.evaluation[0].low", "Lower end of its interval.", wide=True),
        Column("High", "number", ".status.metrics.evaluation[0].high", "Upper end of its interval.", wide=True),
        Column("Model", "string", ".spec.target.model", "What is evaluated.", wide=True),
        _ATTEMPTS,
        _QUEUE,
        _RUN,
    ),
    "ModelDeployment": (
        _PHASE,
        Column("Version", "integer", ".status.model.version", "The version that serves."),
        Column("Ready", "integer", ".status.readyReplicas", "Replicas that answer."),
        Column("Replicas", "integer", ".status.replicas", "Replicas that there are."),
        Column("URL", "string", ".status.url", "Where it answers, inside the cluster."),
        _REASON,
        _AGE,
        Column("Model", "string", ".spec.model", "What is to be served.", wide=True),
        Column("Available", "string", _condition("Available", "status"), "Whether it answers.", wide=True),
        Column("Digest", "string", ".status.model.digest", "Digest of the version that serves.", wide=True),
    ),
}  # fmt: skip
