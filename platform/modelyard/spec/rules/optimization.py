"""Rules of steps, batches and schedules."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelyard.spec.documents import Location
from modelyard.spec.rules.objections import Objection, exactly_one
from modelyard.spec.training import OptimizationSpec, ScheduleSpec, TrainingJobSpec

HERE: Location = ("spec", "optimization")


def check_length(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Exactly one of steps, epochs, tokens."""
    wish = spec.optimization
    lengths = {"steps": wish.steps, "epochs": wish.epochs, "tokens": wish.tokens}
    yield from exactly_one(lengths, HERE, why=", as steps: 1000")
    sizes = {"globalBatchTokens": wish.global_batch_tokens, "globalBatchExamples": wish.global_batch_examples}
    yield from exactly_one(sizes, HERE, needed=False)


def check_batch(spec: TrainingJobSpec) -> Iterator[Objection]:
    """The batch is a whole number of sequences, at least one."""
    tokens, length = spec.optimization.global_batch_tokens, spec.data.sequence_length
    if tokens is not None and tokens % length:
        below, above = tokens // length * length, (tokens // length + 1) * length
        near = f"{below} or {above}" if below else str(above)
        yield Objection(
            (*HERE, "globalBatchTokens"), f"is {tokens}, not a whole number of sequences of {length}", f"write {near}"
        )


def check_shares(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Each worker has a sequence to work on in every step."""
    wish = spec.optimization
    if wish.global_batch_examples is None and (wish.global_batch_tokens or 0) % spec.data.sequence_length:
        return  # said above
    sequences, workers = wish.sequences_per_step(spec.data.sequence_length), spec.workers.count
    if sequences < workers:
        name = "globalBatchTokens" if wish.global_batch_tokens is not None else "globalBatchExamples"
        yield Objection(
            (*HERE, name),
            f"makes a batch of {sequences} for {workers} workers: some would have no sequence",
            f"take {workers} sequences or more, or fewer workers",
        )


def check_schedule(spec: TrainingJobSpec) -> Iterator[Objection]:
    """Warm-up and decay fit into the steps; options belong to their schedule."""
    schedule, place = spec.optimization.schedule, (*HERE, "schedule")
    if schedule.decay_steps is not None and schedule.name != "wsd":
        yield Objection((*place, "decaySteps"), f"belongs to wsd; the schedule is {schedule.name}", "take it out", True)
    if schedule.name == "constant" and schedule.minimum_ratio != ScheduleSpec().minimum_ratio:
        yield Objection((*place, "minimumRatio"), "means nothing to a constant schedule", "take it out", True)
    steps = total_steps(spec.optimization, spec.data.sequence_length)
    if steps is None:
        return
    if schedule.warmup_steps >= steps:
        message = f"is {schedule.warmup_steps}, but there are only {steps} steps"
        yield Objection((*place, "warmupSteps"), message, f"write less than {steps}")
    elif schedule.name == "wsd" and schedule.warmup_steps + (schedule.decay_steps or 0) > steps:
        message = f"is {schedule.decay_steps}: with warmupSteps {schedule.warmup_steps} more than the {steps} steps"
        yield Objection((*place, "decaySteps"), message, f"write at most {steps - schedule.warmup_steps}")


def total_steps(wish: OptimizationSpec, sequence_length: int) -> int | None:
    """Optimizer steps, when the manifest alone tells: epochs need the data."""
    if wish.tokens is None:
        return wish.steps
    return math.ceil(wish.tokens / (wish.sequences_per_step(sequence_length) * sequence_length))
