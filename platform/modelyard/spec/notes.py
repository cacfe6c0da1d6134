"""What a manifest holds that this machine does not use, in one line each: nothing is ignored in silence."""

from __future__ import annotations

from typing import Any

from modelyard.spec.manifests import Manifest, ModelDeployment


def local_notes(manifest: Manifest) -> list[str]:
    """One line for each member that only a cluster uses."""
    spec: Any = manifest.spec
    notes = [
        f"spec.{name} is for clusters; it is not used on this machine"
        for name in ("storage", "runtime")
        if getattr(spec, name) is not None
    ]
    if isinstance(manifest, ModelDeployment):
        resources = ("spec.resources", spec.resources)
    else:
        resources = ("spec.workers.resources", spec.workers.resources)
        if spec.workers.per_pod != 1:
            notes.append("spec.workers.perPod is for clusters; it is not used on this machine")
    if resources[1].extended:
        notes.append(f"{resources[0]}.extended is for clusters; it is not used on this machine")
    if manifest.metadata.namespace is not None:
        notes.append("metadata.namespace is for clusters; it is not used on this machine")
    return notes
