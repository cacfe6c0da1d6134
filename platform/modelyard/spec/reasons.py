"""The reasons that conditions carry: CamelCase words, each with what it means to who reads it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """`reason` of a condition."""

    MANIFEST_ACCEPTED = "ManifestAccepted"
    """The manifest resolves: every reference names something that exists."""
    PREPARING = "Preparing"
    """The prepare stage reads, tokenises and shards the text."""
    TRAINING = "Training"
    """The worker group trains, or is being started."""
    EVALUATING = "Evaluating"
    """The model is being scored on the suites."""
    REGISTERING = "Registering"
    """The model version is being written into the registry."""
    RESTARTING = "Restarting"
    """Workers were lost; the group starts again from the last commit."""
    RESUMED = "Resumed"
    """A stopped run goes on."""
    INTERRUPTED = "Interrupted"
    """Someone stopped the run; it is saved, and the same command goes on."""
    COMPLETED = "Completed"
    """All stages stand."""
    VERDICT_REACHED = "VerdictReached"
    """The evaluation ended with a verdict."""
    GATES_PASSED = "GatesPassed"
    """Every gate said yes."""
    GATE_FAILED = "GateFailed"
    """A gate said no, or could not tell."""
    NOT_RUNNING = "NotRunning"
    """Nothing is at work."""
