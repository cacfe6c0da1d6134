"""What pods tell: each fact, its class, whether it waits, which comes first."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_operator.plan.pods import PodFact, pod_fact


def pod(status: Any, **labels: str) -> dict[str, Any]:
    limits = {"limits": {"memory": "2Gi"}}
    containers = [{"name": "ray-worker", "resources": limits}, {"name": "ray-head", "resources": limits}]
    metadata = {"name": "p", "labels": labels, "creationTimestamp": "2026-11-22T08:00:00Z"}
    return {"metadata": metadata, "spec": {"containers": containers}, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "ray-worker", "image": "ghcr.io/x:1", "state": state}]}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    since = "2026-11-22T08:10:00Z"
    one = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
    return {"conditions": [one]}


def ended(reason: str, place: str = "state", name: str = "ray-worker") -> dict[str, Any]:
    return {"containerStatuses": [{"name": name, place: {"terminated": {"reason": reason, "exitCode": 137}}}]}


CASES = {
    "pull error": (waiting("ErrImagePull", "not found"), "ImagePull", True, False, "ghcr.io/x:1"),
    "pull back-off": (waiting("ImagePullBackOff"), "ImagePull", True, False, "ImagePullBackOff"),
    "bad image name": (waiting("InvalidImageName"), "ImagePull", True, False, "InvalidImageName"),
    "missing secret": (waiting("CreateContainerConfigError", 'secret "k" not found'), "InvalidManifest", True, False,
                       'secret "k" not found'),
    "init container": ({"initContainerStatuses": waiting("ErrImagePull")["containerStatuses"]}, "ImagePull", True,
                       False, "ErrImagePull"),
    "init container out of memory": ({"initContainerStatuses": ended("OOMKilled", name="wait")["containerStatuses"]},
                                     "WorkerLost", False, True, "init container wait"),
    "no node": (condition("PodScheduled", "False", "Unschedulable", "0/3 nodes: 3 Insufficient nvidia.com/gpu"),
                "Unschedulable", True, True, "Insufficient nvidia.com/gpu"),
    "out of memory": (ended("OOMKilled"), "OutOfMemory", False, False, "limit of 2Gi"),
    "out of memory, started again": (ended("OOMKilled", "lastState"), "OutOfMemory", False, False, "limit of 2Gi"),
    "evicted": ({"reason": "Evicted", "message": "low on memory"}, "WorkerLost", False, True, "low on memory"),
    "node lost": ({"reason": "NodeLost"}, "WorkerLost", False, True, "NodeLost"),
    "node shut down": ({"reason": "Terminated", "message": "shutdown"}, "WorkerLost", False, True, "shutdown"),
    "preempted": (condition("DisruptionTarget", "True", "PreemptionByScheduler"), "WorkerLost", False, True,
                  "higher priority"),
    "drained": (condition("DisruptionTarget", "True", "EvictionByEvictionAPI"), "WorkerLost", False, True, "drain"),
    "tainted": (condition("DisruptionTarget", "True", "DeletionByTaintManager"), "WorkerLost", False, True, "tainted"),
    "disrupted in a new way": (condition("DisruptionTarget", "True", "Aliens"), "WorkerLost", False, True, "Aliens"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fact(name: str) -> None:
    status, failure_class, waits, retryable, words = CASES[name]
    fact = pod_fact([pod({}), pod(status)])
    assert isinstance(fact, PodFact)
    assert (fact.failure.failure_class, fact.waits, fact.failure.retryable) == (failure_class, waits, retryable)
    assert words in fact.failure.message
    assert fact.failure.hint


@pytest.mark.parametrize(
    "status",
    [
        {},
        None,
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        ended("Completed"),
        condition("PodScheduled", "True", "Scheduled"),
        condition("PodScheduled", "False", "SchedulingGated"),
        condition("DisruptionTarget", "False", "PreemptionByScheduler"),
        {"containerStatuses": "?", "conditions": [None, 3], "initContainerStatuses": [[]]},
    ],
    ids=str,
)
def test_no_fact(status: Any) -> None:
    assert pod_fact([pod(status)]) is None


def test_the_first_cause_comes_before_what_follows_from_it() -> None:
    facts = [pod(CASES["no node"][0]), pod(CASES["evicted"][0]), pod(CASES["out of memory"][0])]
    fact = pod_fact(facts)
    assert fact is not None
    assert fact.failure.failure_class == "OutOfMemory"


@pytest.mark.parametrize(("kind", "field"), [("head", "runtime.head.memory"), ("worker", "workers.resources.memory")])
def test_memory_is_raised_where_the_pod_takes_it_from(kind: str, field: str) -> None:
    fact = pod_fact([pod(ended("OOMKilled", name=f"ray-{kind}"), **{"ray.io/node-type": kind})])
    assert fact is not None
    assert field in fact.failure.hint
