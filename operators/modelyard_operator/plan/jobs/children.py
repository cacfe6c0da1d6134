"""What a job has beside its RayJob: snapshot, account and permission, status and index ConfigMaps, network, budget."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from modelyard.spec import TrainingJob
from modelyard_operator.kinds.names import (
    INDEX_KEY,
    MANAGED_BY,
    base_name,
    child_name,
    index_name,
    labels_of,
    selector_of,
    status_name,
)
from modelyard_operator.kinds.objects import POD_DISRUPTION_BUDGETS, Json, Resource, owner_reference
from modelyard_operator.plan.jobs.ledger import Ledger
from modelyard_operator.plan.jobs.rayjobs import num_pods, runtime_of
from modelyard_operator.plan.manifests import Job, snapshot_data, snapshot_marks
from modelyard_operator.plan.templates import kuberay_peers

MODEL_LABEL = "modelyard.dev/model"
_REGISTRY = "registry://"


def children(parent: Json, job: Job, attempt: int, served: frozenset[Resource]) -> list[dict[str, Any]]:
    """What stands while the job runs beside snapshot, status ConfigMap and RayJob, in the order of creation."""
    made = []
    if runtime_of(job).service_account_name is None:
        made.append(account(parent))
    made += [role(parent, job, attempt), binding(parent, job), network(parent)]
    if POD_DISRUPTION_BUDGETS in served:
        made.append(budget(parent, job))
    return made


def snapshot(parent: Json, job: Job) -> dict[str, Any]:
    """The manifest that the driver reads: what runs is what was accepted."""
    item = _child(parent, "v1", "ConfigMap", base_name(parent))
    data = snapshot_data(job)
    item["metadata"]["annotations"] = snapshot_marks(job, data)
    return {**item, "data": data}


def record(parent: Json, attempt: int, ledger: Ledger) -> dict[str, Any]:
    """The ConfigMap into which an attempt's driver writes its status, with the operator's account of the attempt."""
    item = _child(parent, "v1", "ConfigMap", status_name(child_name(parent, attempt)), attempt)
    item["metadata"]["annotations"] = ledger.annotation()
    return {**item, "data": {}}


def account(parent: Json) -> dict[str, Any]:
    """Whom the driver speaks as; its token is mounted into the head pod only."""
    item = _child(parent, "v1", "ServiceAccount", base_name(parent))
    return {**item, "automountServiceAccountToken": False}


def role(parent: Json, job: Job, attempt: int) -> dict[str, Any]:
    """The attempt's status ConfigMap and the model's index, by name, and nothing else: an older driver is shut out."""
    written = [status_name(child_name(parent, attempt))]
    if isinstance(job, TrainingJob):
        written.append(index_name(job.spec.register.name))
    read = sorted({index_name(name) for name, _ in (*references(job), *compared(job))} - set(written))
    rules = [_rule(written, ["get", "patch", "update"]), *([_rule(read, ["get"])] if read else [])]
    return {**_child(parent, "rbac.authorization.k8s.io/v1", "Role", base_name(parent)), "rules": rules}


def _rule(names: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": verbs}


def binding(parent: Json, job: Job) -> dict[str, Any]:
    """The role for the account of the pods."""
    name, namespace = base_name(parent), parent["metadata"]["namespace"]
    subject = runtime_of(job).service_account_name or name
    return {
        **_child(parent, "rbac.authorization.k8s.io/v1", "RoleBinding", name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": subject, "namespace": namespace}],
    }


def network(parent: Json) -> dict[str, Any]:
    """Ray's ports are for the run's own pods; KubeRay may ask the dashboard, anyone may read metrics."""
    mine = {"matchLabels": selector_of(parent)}
    return {
        **_child(parent, "networking.k8s.io/v1", "NetworkPolicy", base_name(parent)),
        "spec": {
            "podSelector": mine,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": mine}]},
                {"from": kuberay_peers(), "ports": [{"port": 8265, "protocol": "TCP"}]},
                {"ports": [{"port": 8080, "protocol": "TCP"}]},
            ],
        },
    }


def budget(parent: Json, job: Job) -> dict[str, Any]:
    """No voluntary eviction while it runs: losing one pod throws the whole group back to the last commit.

    `minAvailable` as a number, because RayCluster has no scale subresource by which a share could be counted.
    A pod that is not ready guards nothing: it may always be evicted (servers before 1.27 drop that field).
    """
    return {
        **_child(parent, "policy/v1", "PodDisruptionBudget", base_name(parent)),
        "spec": {
            "minAvailable": num_pods(job) + 1,
            "selector": {"matchLabels": selector_of(parent) | _RAY},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


_RAY = {"ray.io/is-ray-node": "yes"}  # KubeRay's label of head and workers; the submitter has none


def index(namespace: str, model: str) -> dict[str, Any]:
    """A model's index in the registry, empty. It outlives every job: no owner."""
    empty = {"schema": 1, "name": model, "versions": [], "aliases": {}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": index_name(model),
            "namespace": namespace,
            "labels": {**MANAGED_BY, MODEL_LABEL: model},
        },
        "data": {INDEX_KEY: json.dumps(empty, sort_keys=True)},
    }


def references(job: Job) -> list[tuple[str, str]]:
    """(model, alias or version) of what the job cannot begin without."""
    return _registered([job.spec.model.from_ if isinstance(job, TrainingJob) else job.spec.target.model])


def compared(job: Job) -> list[tuple[str, str]]:
    """(model, alias or version) of the baseline. It need not exist: what that means is the gates' to say."""
    baseline = None if isinstance(job, TrainingJob) else job.spec.baseline
    return _registered([baseline.model if baseline else None])


def _registered(wanted: Iterable[str | None]) -> list[tuple[str, str]]:
    found = [reference.removeprefix(_REGISTRY) for reference in wanted if reference and reference.startswith(_REGISTRY)]
    return [(name, which) for name, _, which in (one.partition("@") for one in found)]


def _child(parent: Json, api_version: str, kind: str, name: str, attempt: int | None = None) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": parent["metadata"]["namespace"],
            "labels": labels_of(parent, attempt),
            "ownerReferences": [owner_reference(parent)],
        },
    }
