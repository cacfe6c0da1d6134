"""KubeRay's own words (v1.7): labels, finalizers, names of states; and what its controllers may ask for, as values.

The state machines of this package return these values; `standin` carries them out, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard_operator.kinds.objects import Json, ObjectKey

VERSION = "v1.7.0"
JOB_FINALIZER = "ray.io/rayjob-finalizer"
SERVICE_FINALIZER = "ray.io/rayservice-finalizer"
CLUSTER_LABEL = "ray.io/cluster"
NODE_LABEL = "ray.io/node-type"
GROUP_LABEL = "ray.io/group"
SERVE_LABEL = "ray.io/serve"
FROM_NAME_LABEL = "ray.io/originated-from-cr-name"
FROM_KIND_LABEL = "ray.io/originated-from-crd"
HASH_ANNOTATION = "ray.io/hash-without-replicas-and-workers-to-delete"
GROUPS_ANNOTATION = "ray.io/num-worker-groups"
VERSION_ANNOTATION = "ray.io/kuberay-version"
EXTERNAL_MANAGER = "kueue.x-k8s.io/multikueue"
TERMINAL_JOB = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
TERMINAL_DEPLOYMENT = frozenset({"Complete", "Failed"})

Names = Callable[[], str]  # five random characters, as KubeRay hangs them on the names of what it creates


@dataclass(frozen=True)
class AddFinalizer:
    """To the object itself."""

    name: str


@dataclass(frozen=True)
class DropFinalizer:
    """From the object itself."""

    name: str


@dataclass(frozen=True)
class Make:
    """Create an object."""

    item: Json


@dataclass(frozen=True)
class Change:
    """Merge-patch an object."""

    key: ObjectKey
    body: Json


@dataclass(frozen=True)
class Remove:
    """Delete an object, its children in the background."""

    key: ObjectKey


@dataclass(frozen=True)
class WriteStatus:
    """The whole status wanted of the object itself."""

    status: Json


@dataclass(frozen=True)
class Submit:
    """Give the RayJob's entrypoint to its cluster, under `job_id`."""

    job_id: str


@dataclass(frozen=True)
class StopJob:
    """Ask Ray to stop the job, whether it is there or not."""

    job_id: str


@dataclass(frozen=True)
class PutServeConfig:
    """Give a Serve configuration to a cluster's dashboard, and remember that it was given."""

    cluster: str
    config: str


@dataclass(frozen=True)
class ScheduleDeletion:
    """Remember (in the operator's memory only) when a cluster nobody uses is to go."""

    cluster: str
    at: datetime


@dataclass(frozen=True)
class Tell:
    """An Event."""

    type: str
    reason: str
    message: str


Write = (
    AddFinalizer | DropFinalizer | Make | Change | Remove | WriteStatus | Submit | StopJob | PutServeConfig
    | ScheduleDeletion | Tell
)  # fmt: skip


def text_of(moment: datetime) -> str:
    """As metav1.Time is written: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(text: str) -> datetime:
    """The moment that a metav1.Time names."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As Go's `omitempty` writes a struct: what is empty is not there."""
    return {key: value for key, value in fields.items() if value not in ("", None, {}, [])}


def owned_by(owner: Json) -> list[dict[str, Any]]:
    """The ownerReferences that controller-runtime sets."""
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def condition_of(status: Json, kind: str) -> Json:
    """A condition by its type; empty when there is none."""
    return next((entry for entry in status.get("conditions", ()) if entry["type"] == kind), {})


def is_true(status: Json, kind: str) -> bool:
    """Whether a condition is there and True."""
    return condition_of(status, kind).get("status") == "True"


def with_condition(
    status: Json, kind: str, value: str, reason: str, message: str, now: datetime, generation: int
) -> dict[str, Any]:
    """The status with a condition set; lastTransitionTime moves with the value only, as apimachinery's meta does it."""
    old = condition_of(status, kind)
    moved = text_of(now) if old.get("status") != value else old["lastTransitionTime"]
    entry = {
        "type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": moved,
        "observedGeneration": generation,
    }  # fmt: skip
    conditions = [entry if other["type"] == kind else other for other in status.get("conditions", ())]
    return {**status, "conditions": conditions if old else [*conditions, entry]}
