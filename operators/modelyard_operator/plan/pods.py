"""What pods tell of a failure: image, capacity, memory, eviction, preemption, as a failure digest.

Kubernetes tells these in pod statuses only; KubeRay's own status says no more than "not ready" or "failed".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from modelyard.errors import FailureClass
from modelyard.records import FailureDigest, FailurePlace
from modelyard_operator.kinds.objects import Json
from modelyard_operator.plan.reading import clipped, listed, moment, text

_IMAGE = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError",
}  # fmt: skip
WAITING_CLASSES = ("ImagePull", "Unschedulable", "InvalidManifest")  # of what may still come right by itself
_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}
_TAKEN = {  # DisruptionTarget's reasons
    "PreemptionByScheduler": "was preempted by a pod of higher priority",
    "PreemptionByKubeScheduler": "was preempted by a pod of higher priority",
    "DeletionByTaintManager": "was evicted: its node was tainted",
    "EvictionByEvictionAPI": "was evicted, as by a node's drain",
    "DeletionByPodGC": "is gone with its node",
    "TerminationByKubelet": "was ended by its node (pressure or shutdown)",
}
_LOST = {"Evicted", "Preempting", "NodeLost", "NodeShutdown", "Terminated", "UnexpectedAdmissionError", "OutOfcpu"}


@dataclass(frozen=True)
class PodFact:
    """What a pod tells. `waits`: it may still come to run; `since` when that is known."""

    failure: FailureDigest
    waits: bool = False
    since: datetime | None = None


def pod_fact(pods: Iterable[Json], told: str = "") -> PodFact | None:
    """The fact that matters most: memory, then loss, image, configuration, capacity; None when all is well.

    `told` is the failure's message that a status has already: a pull that backs off says less than the one before.
    """
    facts = [fact for pod in pods for fact in _facts(pod, told)]
    return min(facts, key=lambda fact: _ORDER.index(fact.failure.failure_class), default=None)


_ORDER: Sequence[FailureClass] = ("OutOfMemory", "WorkerLost", "ImagePull", "InvalidManifest", "Unschedulable")


def _facts(pod: Json, before: str) -> Iterator[PodFact]:
    for container in listed(pod, "status", "initContainerStatuses"):
        named = f"the init container {text(container, 'name') or '?'} of pod {_name(pod)}"
        if _ran_out_of_memory(container):
            words = f"{named} was killed: it used more memory than its limit"
            hint = "its memory is set by who adds it to the pod (KubeRay, a webhook), not by the manifest"
            yield PodFact(_digest("WorkerLost", words, hint, retryable=True))
        yield from _waiting(pod, container, named, before)
    for container in listed(pod, "status", "containerStatuses"):
        named = f"the container {text(container, 'name') or '?'} of pod {_name(pod)}"
        if _ran_out_of_memory(container):
            yield PodFact(_out_of_memory(pod, container, named))
        yield from _waiting(pod, container, named, before)
    yield from _of_pod(pod)


def _ran_out_of_memory(container: Json) -> bool:
    return any(text(container, place, "terminated", "reason") == "OOMKilled" for place in ("state", "lastState"))


def _waiting(pod: Json, container: Json, named: str, before: str) -> Iterator[PodFact]:
    reason = text(container, "state", "waiting", "reason")
    told = text(container, "state", "waiting", "message")
    since = moment(pod, "metadata", "creationTimestamp")
    if reason in _IMAGE:
        image = text(container, "image") or "of " + named
        begins = f"the image {image} cannot be pulled: "
        known = reason == "ImagePullBackOff" and before.startswith(begins)
        words = before if known else f"{begins}{told or reason}"
        hint = "correct spec.runtime.image (suspend a job first), or give imagePullSecrets that may read it"
        yield PodFact(_digest("ImagePull", words, hint, retryable=False), waits=True, since=since)
    elif reason in _CONFIG:
        words = f"{named} cannot be created: {told or reason}"
        hint = "create the Secret or ConfigMap that spec.runtime names, with that key"
        yield PodFact(_digest("InvalidManifest", words, hint, retryable=False), waits=True, since=since)


def _out_of_memory(pod: Json, container: Json, named: str) -> FailureDigest:
    limit = _limit(pod, text(container, "name"))
    head = text(pod, "metadata", "labels", "ray.io/node-type") == "head"
    field = "spec.runtime.head.memory" if head else "spec.workers.resources.memory"
    words = f"{named} was killed: it used more memory than its limit{limit}"
    return _digest("OutOfMemory", words, f"raise {field}, or make batches and sequences smaller", retryable=False)


def _limit(pod: Json, container: str) -> str:
    for wished in listed(pod, "spec", "containers"):
        if text(wished, "name") == container and text(wished, "resources", "limits", "memory"):
            return f" of {text(wished, 'resources', 'limits', 'memory')}"
    return ""


def _of_pod(pod: Json) -> Iterator[PodFact]:
    reason = text(pod, "status", "reason")
    told = text(pod, "status", "message")
    if reason in _LOST or reason.startswith("OutOf"):
        words = f"pod {_name(pod)} was lost ({reason}){': ' + told if told else ''}"
        yield PodFact(_digest("WorkerLost", words, "the run goes on from its newest commit", retryable=True))
    for condition in listed(pod, "status", "conditions"):
        kind, status, why = (text(condition, name) for name in ("type", "status", "reason"))
        message = text(condition, "message")
        if kind == "DisruptionTarget" and status == "True":
            words = f"pod {_name(pod)} {_TAKEN.get(why, f'was disrupted ({why})')}{': ' + message if message else ''}"
            yield PodFact(_digest("WorkerLost", words, "the run goes on from its newest commit", retryable=True))
        if kind == "PodScheduled" and status == "False" and why == "Unschedulable":
            words = f"pod {_name(pod)} finds no node: {message or 'unschedulable'}"
            hint = "ask for less in spec.workers and spec.runtime.head, or wait for capacity"
            digest = _digest("Unschedulable", words, hint, retryable=True)
            yield PodFact(digest, waits=True, since=moment(condition, "lastTransitionTime"))


def _digest(failure_class: FailureClass, message: str, hint: str, *, retryable: bool) -> FailureDigest:
    return FailureDigest(
        failure_class=failure_class,
        message=clipped(" ".join(message.split()), 1024),
        where=FailurePlace(),
        hint=hint,
        retryable=retryable,
    )


def _name(pod: Json) -> str:
    return text(pod, "metadata", "name")
