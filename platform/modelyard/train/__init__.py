"""Training: our loop over a DeepSpeed engine, on Ray Train. Nothing heavy is imported until a worker runs."""

from __future__ import annotations

from modelyard.train.task import Place, TrainOutcome, TrainTask, WorkerFailure

__all__ = ["Place", "TrainOutcome", "TrainTask", "WorkerFailure"]
