"""The reasons that conditions carry: CamelCase words, each with what it means to who reads it."""

from __future__ import annotations

import ast
import inspect
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
    MODEL_NOT_FOUND = "ModelNotFound"
    """The reference names no version of the registry (yet); it heals when the alias or version appears."""
    ROLLING_OUT = "RollingOut"
    """A version is being brought up beside the one that serves."""
    ROLLED_OUT = "RolledOut"
    """The version wished for answers requests."""
    ROLLED_BACK = "RolledBack"
    """The version wished for did not come up; the last good one serves until something changes."""
    ROLLOUT_FAILED = "RolloutFailed"
    """The version wished for did not come up, and there is no earlier one to go back to."""
    KUBERAY_MISSING = "KubeRayMissing"
    """The cluster knows no RayService or RayJob. Install KubeRay."""
    SCALED_TO_ZERO = "ScaledToZero"
    """No replicas are wished for: nothing answers."""
    ANSWERING = "Answering"
    """The endpoint answers real requests."""
    NOT_ANSWERING = "NotAnswering"
    """The endpoint does not answer, or answers that it is not ready."""

    # Jobs on a cluster.
    INVALID_MANIFEST = "InvalidManifest"
    """The manifest has faults; the message tells all of them, as `modelyard validate` does. Correct it."""
    STORAGE_NOT_READY = "StorageNotReady"
    """The claim is missing, or several pods cannot mount it. Create it, or name another one."""
    REFERENCE_NOT_FOUND = "ReferenceNotFound"
    """A claim, ConfigMap or ServiceAccount that the manifest names does not exist (yet)."""
    NAME_TAKEN = "NameTaken"
    """An object that is not ours stands where a child would be created. Delete or rename it."""
    STARTING = "Starting"
    """The attempt's RayJob is there; its pods and its driver are being started."""
    QUEUED = "Queued"
    """The RayJob is held back: its queue has not admitted it, or someone suspended it."""
    ENDING = "Ending"
    """Ray tells that the driver has ended; KubeRay has not yet told how."""
    STOPPING = "Stopping"
    """The driver was asked to commit and stop."""
    SUSPENDED = "Suspended"
    """Nothing runs, as wished by `spec.suspend`; everything committed is kept."""
    RETRYING = "Retrying"
    """The attempt failed; another one starts once its pods are gone."""
    REFUSED = "Refused"
    """The API server refuses an object that is needed: a quota, a webhook, a permission. It is tried again."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """All attempts together took longer than `runtime.activeDeadlineSeconds`."""
    RESTARTS_USED_UP = "RestartsUsedUp"
    """More failures in a row without a new commit than `faultTolerance.maxRestarts` allows."""
    RUN_FAILED = "RunFailed"
    """The run failed in a way that trying again does not mend; `lastFailure` says why."""
    NO_VERDICT = "NoVerdict"
    """The evaluation could not decide: too little was measured, or measuring failed. Look at the run's report."""


def meanings() -> dict[Reason, str]:
    """What each reason means, in order: the texts that stand below the words above."""
    (words,) = ast.parse(inspect.getsource(Reason)).body
    assert isinstance(words, ast.ClassDef)
    lines = (line.value for line in words.body[1:] if isinstance(line, ast.Expr))
    told = [inspect.cleandoc(str(line.value)) for line in lines if isinstance(line, ast.Constant)]
    return dict(zip(Reason, told, strict=True))
