"""What a manifest holds that this machine does not use, in one line each: nothing is ignored in silence."""

from __future__ import annotations

from typing import Any

from modelyard.spec.deployments import ModelDeploymentSpec
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
        notes += _of_deployment(manifest.spec)
    else:
        resources = ("spec.workers.resources", spec.workers.resources)
        if spec.workers.per_pod != 1:
            notes.append("spec.workers.perPod is for clusters; it is not used on this machine")
    if resources[1].extended:
        notes.append(f"{resources[0]}.extended is for clusters; it is not used on this machine")
    if manifest.metadata.namespace is not None:
        notes.append("metadata.namespace is for clusters; it is not used on this machine")
    return notes


def _of_deployment(spec: ModelDeploymentSpec) -> list[str]:
    """Scale and rollouts are a cluster's: this machine serves one version with a fixed number of replicas."""
    notes = []
    if spec.autoscaling is not None:
        notes.append("spec.autoscaling is for clusters; it is not used on this machine: one replica serves")
    if spec.replicas == 0:
        notes.append("spec.replicas: 0 is for clusters; it is not used on this machine: one replica serves")
    if spec.rollout.evaluation is not None:
        notes.append("spec.rollout.evaluation is for clusters; it is not used on this machine")
    return notes
