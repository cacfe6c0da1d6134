"""Whether the pods of a manifest can mount what it names: its volumes beside ours, and its claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.spec import RuntimeSpec
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.names import MANIFEST_FOLDER, STORAGE_FOLDER
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import dig, text
from modelyard_operator.plan.templates import OWN_VOLUMES

HOST_LABEL = "kubernetes.io/hostname"


@dataclass(frozen=True)
class Objection:
    """Why a manifest is not taken (yet), as a condition tells it."""

    reason: Reason
    message: str


def clashes(runtime: RuntimeSpec | None) -> Iterator[Objection]:
    """Volumes of the manifest in the place of ours: no pod could be created."""
    for at, volume in enumerate(runtime.volumes if runtime else ()):
        place = f"spec.runtime.volumes[{at}]"
        if volume.name.startswith(OWN_VOLUMES):
            words = (
                f"{place}.name: is {volume.name}; names that begin with {OWN_VOLUMES} are the operator's (rename it)"
            )
            yield Objection(Reason.INVALID_MANIFEST, words)
        if volume.mount_path.rstrip("/") in (STORAGE_FOLDER, MANIFEST_FOLDER):
            words = f"{place}.mountPath: is {volume.mount_path}, where the operator mounts its own (choose another)"
            yield Objection(Reason.INVALID_MANIFEST, words)


def claim_fault(claim: Json, runtime: RuntimeSpec | None, *, read_only: bool = False) -> str:
    """Why several pods cannot mount a claim, in words that follow its name; empty when they can."""
    if text(claim, "metadata", "deletionTimestamp"):
        return "is being deleted"
    if text(claim, "status", "phase") == "Lost":
        return "has lost its volume"
    if _mountable(claim, runtime, read_only):
        return ""
    modes = ", ".join(_modes(claim)) or "no access mode"
    return (
        f"has {modes}: the pods are several, so it must be ReadWriteMany{' or ReadOnlyMany' if read_only else ''}"
        f" (ReadWriteOnce does when spec.runtime.nodeSelector names one node by {HOST_LABEL})"
    )


def _mountable(claim: Json, runtime: RuntimeSpec | None, read_only: bool) -> bool:
    """Several pods on several nodes, or on the one node that all are bound to."""
    modes = _modes(claim)
    if read_only and "ReadOnlyMany" in modes:
        return True
    one_node = runtime is not None and HOST_LABEL in runtime.node_selector
    return "ReadWriteMany" in modes or (one_node and "ReadWriteOnce" in modes)


def _modes(claim: Json) -> list[str]:
    given = dig(claim, "status", "accessModes") or dig(claim, "spec", "accessModes") or ()
    return [mode for mode in given if isinstance(mode, str)] if isinstance(given, list | tuple) else []
