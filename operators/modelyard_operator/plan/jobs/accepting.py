"""Whether a job can be taken: its manifest, its storage, what it refers to, the names it needs. All in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.spec import TrainingJob
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.names import MANAGED_BY, base_name, index_name, labels_of
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    NETWORK_POLICIES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    RAY_JOBS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Json,
    ObjectKey,
    controller_uid,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan.jobs.attempts import rayjob_key, record_key
from modelyard_operator.plan.manifests import Job, Refused
from modelyard_operator.plan.reading import listed, mapping, text, whole
from modelyard_operator.plan.registry_index import Unresolved, model_of, resolve
from modelyard_operator.plan.volumes import Objection, claim_fault, clashes

ONCE = (CONFIG_MAPS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS)


def objection(observation: Observation, job: Job | Refused, attempt: int) -> Objection | None:
    """The first thing in the way of a job whose next attempt has that number; None when there is nothing."""
    if isinstance(job, Refused):
        return Objection(Reason.INVALID_MANIFEST, job.message)
    return next(_objections(observation, job, attempt), None)


def _objections(observation: Observation, job: Job, attempt: int) -> Iterator[Objection]:
    if RAY_JOBS not in observation.served:
        words = "the API server knows no RayJob (ray.io/v1): install KubeRay 1.7 or newer"
        yield Objection(Reason.KUBERAY_MISSING, words)
    yield from clashes(job.spec.runtime)
    yield from _storage(observation, job)
    yield from _references(observation, job)
    yield from taken_names(observation, job, attempt)


def _storage(observation: Observation, job: Job) -> Iterator[Objection]:
    storage = job.spec.storage
    if storage is None:
        words = "spec.storage: is missing: on a cluster the run needs a claim (add storage: {claimName: …})"
        yield Objection(Reason.INVALID_MANIFEST, words)
        return
    named = f"spec.storage.claimName: the PersistentVolumeClaim {storage.claim_name}"
    claim = observation.get(_key(observation, PERSISTENT_VOLUME_CLAIMS, storage.claim_name))
    if claim is None:
        yield Objection(Reason.STORAGE_NOT_READY, f"{named} does not exist in this namespace")
    elif fault := claim_fault(claim, job.spec.runtime):
        yield Objection(Reason.STORAGE_NOT_READY, f"{named} {fault}")


def _references(observation: Observation, job: Job) -> Iterator[Objection]:
    reference = job.spec.model.from_ if isinstance(job, TrainingJob) else job.spec.target.model
    field = "spec.model.from" if isinstance(job, TrainingJob) else "spec.target.model"
    model = model_of(reference)
    if reference is not None and model is not None:
        found = resolve(reference, observation.get(_key(observation, CONFIG_MAPS, index_name(model))))
        if isinstance(found, Unresolved):
            yield Objection(Reason.MODEL_NOT_FOUND, f"{field}: {reference}: {found.message}")
    for field, key in _named(observation.parent):
        if observation.get(key) is None:
            words = f"{field}: the {key.resource.kind} {key.name} does not exist in this namespace"
            yield Objection(Reason.REFERENCE_NOT_FOUND, words)


def _named(parent: Json) -> Iterator[tuple[str, ObjectKey]]:
    """Objects that the runtime names and that we may look at: secrets are not ours to read."""
    namespace = parent["metadata"]["namespace"]
    runtime = mapping(parent, "spec", "runtime")
    account = text(runtime, "serviceAccountName")
    if account:
        yield "spec.runtime.serviceAccountName", ObjectKey(SERVICE_ACCOUNTS, namespace, account)
    for at, volume in enumerate(listed(runtime, "volumes")):
        claim, config = text(volume, "persistentVolumeClaim", "claimName"), text(volume, "configMap", "name")
        if claim:
            yield f"spec.runtime.volumes[{at}]", ObjectKey(PERSISTENT_VOLUME_CLAIMS, namespace, claim)
        if config:
            yield f"spec.runtime.volumes[{at}]", ObjectKey(CONFIG_MAPS, namespace, config)


def taken_names(observation: Observation, job: Job, attempt: int) -> Iterator[Objection]:
    """Objects of somebody else where ours would stand."""
    parent = observation.parent
    keys = [*once_keys(parent), rayjob_key(parent, attempt), record_key(parent, attempt)]
    for key in keys:
        item = observation.get(key)
        if item is not None and controller_uid(item) != uid_of(parent):
            yield _taken(key)
    if isinstance(job, TrainingJob):
        key = _key(observation, CONFIG_MAPS, index_name(job.spec.register.name))
        item = observation.get(key)
        if item is not None and not MANAGED_BY.items() <= dict(mapping(item, "metadata", "labels")).items():
            yield _taken(key)


def _taken(key: ObjectKey) -> Objection:
    words = f"the {key.resource.kind} {key.name} exists and is not ours: delete or rename it, or rename this job"
    return Objection(Reason.NAME_TAKEN, words)


def orphaned(parent: Json, item: Json) -> bool:
    """Whether an object under a name of ours carries our labels and nobody controls it: it is one of ours."""
    labels = mapping(item, "metadata", "labels")
    return not controller_uid(item) and all(labels.get(name) == value for name, value in labels_of(parent).items())


def once_keys(parent: Json) -> tuple[ObjectKey, ...]:
    """Where the children stand that a job has once."""
    namespace, name = parent["metadata"]["namespace"], base_name(parent)
    return tuple(ObjectKey(resource, namespace, name) for resource in ONCE)


def child_keys(parent: Json) -> tuple[ObjectKey, ...]:
    """Where children may stand now, those of the newest attempt and the next included."""
    number = max(0, whole(parent, "status", "attempts"))
    attempts = [key(parent, at) for at in (number, number + 1) for key in (rayjob_key, record_key)]
    return (*once_keys(parent), *attempts)


def interest(parent: Json) -> tuple[ObjectKey, ...]:
    """What is looked at though the job does not control it (yet)."""
    namespace = parent["metadata"]["namespace"]
    keys = [*child_keys(parent)]
    keys += [key for _, key in _named(parent)]
    claim = text(parent, "spec", "storage", "claimName")
    keys += [ObjectKey(PERSISTENT_VOLUME_CLAIMS, namespace, claim)] if claim else []
    wanted: list[Any] = [
        text(parent, "spec", "register", "name"),
        model_of(text(parent, "spec", "model", "from")),
        model_of(text(parent, "spec", "target", "model")),
    ]
    keys += [ObjectKey(CONFIG_MAPS, namespace, index_name(model)) for model in wanted if model]
    return tuple(dict.fromkeys(keys))


def _key(observation: Observation, resource: Any, name: str) -> ObjectKey:
    return ObjectKey(resource, observation.parent["metadata"]["namespace"], name)
