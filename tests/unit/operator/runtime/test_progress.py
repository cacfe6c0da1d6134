"""What Prometheus hears of jobs and deployments: what the cache holds, from a leader alone."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from modelyard_operator.kinds.objects import TRAINING_JOBS, Json, ObjectKey
from modelyard_operator.runtime.cache import Cache
from modelyard_operator.runtime.progress import Progress

PLACE = {"namespace": "team-a", "name": "tiny"}


def parent(kind: str, version: int, **status: Any) -> Json:
    """One of our objects at a version."""
    metadata = {**PLACE, "uid": kind, "resourceVersion": str(version)}
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {}, "status": status}


def condition(kind: str) -> dict[str, str]:
    """A condition that is True."""
    return {"type": kind, "status": "True", "reason": "Because"}


def told(cache: Cache, leads: bool = True) -> CollectorRegistry:
    """A registry that asks the cache."""
    registry = CollectorRegistry()
    registry.register(Progress(cache, lambda: leads))
    return registry


def test_a_job_tells_its_progress_and_follows_it() -> None:
    cache = Cache()
    registry = told(cache)
    cache.put(parent("TrainingJob", 1, phase="Training", progress={"step": 10, "totalSteps": 480}, attempts=1))
    assert registry.get_sample_value("modelyard_train_step", PLACE) == 10
    assert registry.get_sample_value("modelyard_train_loss", PLACE) is None, "unknown is not zero"
    cache.put(parent("TrainingJob", 2, phase="Training", progress={"step": 20}, metrics={"loss": 3.5}))
    assert registry.get_sample_value("modelyard_train_step", PLACE) == 20
    assert registry.get_sample_value("modelyard_train_loss", PLACE) == 3.5
    assert registry.get_sample_value("modelyard_train_total_steps", PLACE) is None
    cache.drop(ObjectKey(TRAINING_JOBS, "team-a", "tiny"))
    assert registry.get_sample_value("modelyard_train_step", PLACE) is None


def test_each_object_has_one_phase() -> None:
    cache = Cache()
    registry = told(cache)
    cache.put(parent("EvaluationJob", 1))
    assert registry.get_sample_value("modelyard_operator_phase", phase("EvaluationJob", "Pending")) == 1
    cache.put(parent("EvaluationJob", 2, phase="Running"))
    assert registry.get_sample_value("modelyard_operator_phase", phase("EvaluationJob", "Pending")) is None
    assert registry.get_sample_value("modelyard_operator_phase", phase("EvaluationJob", "Running")) == 1


def phase(kind: str, word: str) -> dict[str, str]:
    """The labels of a phase."""
    return {**PLACE, "kind": kind, "phase": word}


def test_a_failure_is_told_by_class_once_it_is_final() -> None:
    cache = Cache()
    registry = told(cache)
    failure = {"class": "WorkerLost", "message": "a node went"}
    labels = {**PLACE, "kind": "TrainingJob", "class": "WorkerLost"}
    cache.put(parent("TrainingJob", 1, phase="Training", lastFailure=failure))
    assert registry.get_sample_value("modelyard_operator_failed", labels) is None
    cache.put(parent("TrainingJob", 2, phase="Failed", lastFailure=failure, conditions=[condition("Failed")]))
    assert registry.get_sample_value("modelyard_operator_failed", labels) == 1


def test_a_deployment_tells_whether_it_answers() -> None:
    cache = Cache()
    registry = told(cache)
    cache.put(parent("ModelDeployment", 1, phase="Deploying", replicas=2, readyReplicas=0))
    assert registry.get_sample_value("modelyard_operator_available", PLACE) == 0
    assert registry.get_sample_value("modelyard_operator_replicas", PLACE) == 2
    cache.put(parent("ModelDeployment", 2, phase="Ready", readyReplicas=2, conditions=[condition("Available")]))
    assert registry.get_sample_value("modelyard_operator_available", PLACE) == 1


def test_who_does_not_lead_tells_nothing() -> None:
    cache = Cache()
    cache.put(parent("TrainingJob", 1, phase="Training", progress={"step": 10}))
    assert told(cache, leads=False).get_sample_value("modelyard_train_step", PLACE) is None
    assert told(cache).get_sample_value("modelyard_train_step", PLACE) == 10
