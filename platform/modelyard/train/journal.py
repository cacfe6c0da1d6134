"""What a run shows while training: rows in metrics.jsonl and TensorBoard events, both by rank 0."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from modelyard.telemetry import MetricsWriter
from modelyard.train.loop import StepRecord

SCALARS = {
    "loss": "train/loss",
    "gradNorm": "train/gradient_norm",
    "learningRate": "train/learning_rate",
    "tokensPerSecond": "train/tokens_per_second",
    "stepSeconds": "train/step_seconds",
    "validationLoss": "validation/loss",
}


class Journal:
    """Writes a step's row when the step is done, and a second, short one when its checkpoint is committed."""

    def __init__(self, metrics: Path, tensorboard: Path, *, attempt: int, total_steps: int) -> None:
        self._metrics = MetricsWriter(metrics, attempt=attempt)
        self._tensorboard = tensorboard
        self._attempt = attempt
        self._total_steps = total_steps
        self._writer: Any = None

    def step(self, record: StepRecord) -> None:
        """Append the step's row."""
        values = step_values(record)
        self._metrics.write(record.step, totalSteps=self._total_steps, **values)
        self._show(record.step, values)

    def committed(self, record: StepRecord, seconds: float) -> None:
        """Tell that the step's checkpoint is committed, and how long it took."""
        self._metrics.write(
            record.step, totalSteps=self._total_steps, tokens=record.tokens, loss=record.loss,
            checkpointSeconds=round(seconds, 4),
        )  # fmt: skip

    def close(self) -> None:
        """Flush the events."""
        if self._writer is not None:
            self._writer.close()

    def _show(self, step: int, values: dict[str, Any]) -> None:
        if self._writer is None:  # imported after the first step: it must not slow the start
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._tensorboard.mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(self._tensorboard), filename_suffix=f".a{self._attempt}")
            self._event, self._summary = Event, Summary
        scalars = [
            self._summary.Value(tag=tag, simple_value=values[key])
            for key, tag in SCALARS.items()
            if values.get(key) is not None
        ]
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=scalars)))


def step_values(record: StepRecord) -> dict[str, float | int | None]:
    """A step's row of metrics.jsonl: camelCase names, units in them."""
    return {
        "loss": record.loss,
        "gradNorm": record.gradient_norm,
        "learningRate": record.learning_rate,
        "tokens": record.tokens,
        "tokensPerSecond": round(record.step_tokens / max(record.step_seconds, 1e-9), 2),
        "stepSeconds": round(record.step_seconds, 5),
        "dataSeconds": round(record.data_seconds, 5),
        "forwardBackwardSeconds": round(record.forward_backward_seconds, 5),
        "optimizerSeconds": round(record.optimizer_seconds, 5),
        "waitSeconds": round(record.wait_seconds, 5),
        "validationLoss": record.validation_loss,
        "validationSeconds": None if record.validation_seconds is None else round(record.validation_seconds, 4),
    }
