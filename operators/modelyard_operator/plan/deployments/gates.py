"""`rollout.evaluation`: the EvaluationJob that a new version must pass before it takes traffic, made and read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from modelyard.spec import ModelDeployment
from modelyard.spec.digests import canonical
from modelyard_operator.kinds.conditions import ACCEPTED, COMPLETE, FAILED, condition_of, is_true
from modelyard_operator.kinds.names import base_name, labels_of
from modelyard_operator.kinds.objects import EVALUATION_JOBS, Json, ObjectKey, owner_reference
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan.deployments.rayservices import of_pods
from modelyard_operator.plan.deployments.rollouts import Gate
from modelyard_operator.plan.reading import clipped, text
from modelyard_operator.plan.registry_index import ModelVersion


@dataclass(frozen=True)
class GateState:
    """The gate with words for people, and the job to create when it is missing."""

    gate: Gate
    words: str = ""
    job: Json | None = None


def gate_state(observation: Observation, manifest: ModelDeployment, model: ModelVersion, baseline: str) -> GateState:
    """What the evaluation of a version says; `baseline` is the version now served, as `name@version`, or empty."""
    job = evaluation_job(observation.parent, manifest, model, baseline)
    if job is None:
        return GateState(Gate.open)
    name = job["metadata"]["name"]
    standing = observation.get(ObjectKey(EVALUATION_JOBS, job["metadata"]["namespace"], name))
    if standing is None:
        return GateState(Gate.missing, job=job)
    return _judge(name, standing, job)


def _judge(name: str, standing: Json, job: Json) -> GateState:
    if is_true(standing, COMPLETE):
        verdict = text(standing, "status", "verdict") or "no verdict"
        if verdict == "Passed":
            return GateState(Gate.open, job=job)
        said = _message(standing, "Passed")
        return GateState(Gate.refused, f"the evaluation {name} says {verdict}{said}", job)
    if is_true(standing, FAILED):
        again = "; delete that EvaluationJob to have it run anew"
        return GateState(Gate.refused, f"the evaluation {name} failed{_message(standing, FAILED)}{again}", job)
    refused = condition_of(standing, ACCEPTED)
    if refused is not None and refused.get("status") == "False":
        return GateState(Gate.running, f"the evaluation {name} is not accepted{_message(standing, ACCEPTED)}", job)
    return GateState(Gate.running, job=job)


def _message(item: Json, kind: str) -> str:
    words = text(condition_of(item, kind), "message")
    return f": {clipped(words, 512)}" if words else ""


def evaluation_job(
    parent: Json, manifest: ModelDeployment, model: ModelVersion, baseline: str
) -> dict[str, Any] | None:
    """The EvaluationJob of a version; None when the rollout asks for none.

    Where nothing serves yet there is nothing to compare with: gates that compare are left out, and when there are no
    others the version needs no evaluation.
    Its name is a function of what is evaluated and how. The same is never evaluated twice; deleting the job asks again.
    """
    spec = manifest.spec
    wish = spec.rollout.evaluation
    gates = [gate for gate in wish.gates if baseline or gate.not_worse_than_baseline is None] if wish else []
    if wish is None or not gates:
        return None
    resources = canonical(spec.resources)
    job: dict[str, Any] = {
        "target": {"model": f"registry://{model.label}"},
        "suites": canonical(wish.suites),
        "gates": canonical(gates),
        "workers": {"count": 1, **({"resources": resources} if resources else {})},
    }
    if any(gate.not_worse_than_baseline is not None for gate in gates):
        job["baseline"] = {"model": f"registry://{baseline}", "whenMissing": "pass"}
    if spec.storage is not None:
        job["storage"] = canonical(spec.storage)
    if spec.runtime is not None:  # a verdict that went away by itself would be asked for again, and again
        runtime = canonical(spec.runtime)
        job["runtime"] = {name: value for name, value in runtime.items() if name != "ttlSecondsAfterFinished"}
    asked = {**job, "runtime": of_pods(job.get("runtime", {}))}
    seen = json.dumps([asked, model.digest], sort_keys=True, separators=(",", ":"))
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "EvaluationJob",
        "metadata": {
            "name": f"{base_name(parent)}-{hashlib.sha256(seen.encode()).hexdigest()[:8]}",
            "namespace": parent["metadata"]["namespace"],
            "labels": labels_of(parent),
            "ownerReferences": [owner_reference(parent)],
        },
        "spec": job,
    }
