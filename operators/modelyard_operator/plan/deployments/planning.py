"""A ModelDeployment's plan: the version that its reference names, on a RayService, through gates, forward or back.

1 what is so (`facts`), 2 the gate, 3 the decision (`rollouts`), 4 the actions, 5 the status.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.spec import ModelDeployment
from modelyard_operator.kinds.actions import Action, Create, Delete, Requeue
from modelyard_operator.kinds.names import DIGEST_ANNOTATION, base_name, labels_of
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVALUATION_JOBS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    RAY_CLUSTERS,
    RAY_SERVICES,
    SERVICES,
    Json,
    ObjectKey,
    key_of,
    owner_reference,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.deployments.facts import (
    FAILED_ANNOTATION,
    GOOD_KEY,
    MODEL_DIGEST_ANNOTATION,
    SINCE_ANNOTATION,
    VERSION_ANNOTATION,
    Facts,
    doubted,
    failed_of,
    good_text,
    health_url,
    is_ready,
    key,
    look,
    may_sleep,
    needs,
    read_good,
    standing_of,
)
from modelyard_operator.plan.deployments.gates import GateState, gate_state
from modelyard_operator.plan.deployments.guards import guards
from modelyard_operator.plan.deployments.rayservices import (
    labels,
    most_replicas,
    render,
    scaled,
    wished_suspend,
    with_room,
)
from modelyard_operator.plan.deployments.rollouts import (
    DOUBT_SECONDS,
    LOOK_AGAIN_SECONDS,
    Gate,
    RolloutDecision,
    Situation,
    Standing,
    Step,
    Target,
    decide,
)
from modelyard_operator.plan.deployments.status import events, status_of
from modelyard_operator.plan.patching import content, difference, lacking, patch_of
from modelyard_operator.plan.reading import dig, mapping, rfc3339, text


def interest(parent: Json, settings: Settings) -> tuple[ObjectKey, ...]:
    """What is looked at though not (yet) owned: the children's places, the index, claims, the account, the gate."""
    children = (RAY_SERVICES, SERVICES, CONFIG_MAPS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS)
    return (*(key(parent, resource) for resource in children), *needs(parent))


def probes(observation: Observation) -> tuple[str, ...]:
    """The endpoint's health, when KubeRay sees something behind it and asking wakes nobody."""
    facts = look(observation)
    service = facts.service
    if service is None or facts.leaving or not is_ready(service) or dig(service, "spec", "suspend") is True:
        return ()
    standing = text(service, "metadata", "annotations", DIGEST_ANNOTATION)
    if may_sleep(observation.parent) and facts.good is not None and facts.good.target.digest == standing:
        return ()
    return (health_url(observation.parent),)


def plan(observation: Observation, settings: Settings) -> list[Action]:
    """What is to be done for a ModelDeployment now."""
    if dig(observation.parent, "metadata", "deletionTimestamp") is not None:
        return []  # the children carry owner references
    facts = look(observation)
    standing = standing_of(observation, facts)
    gate = _gate(observation, facts, standing)
    decision = decide(_situation(facts, standing, gate), observation.now)
    actions = [*_children(observation, facts, standing, gate, decision, settings)]
    wished = status_of(observation, facts, standing, decision, settings)
    change = difference(mapping(observation.parent, "status"), wished)
    if change:
        actions += [*events(observation.parent, wished), patch_of(observation.parent, {"status": change}, "status")]
    again = decision.again_seconds if decision is not None else LOOK_AGAIN_SECONDS * 6
    return [*actions, Requeue(min(again, DOUBT_SECONDS) if doubted(observation) else again)]


def _gate(observation: Observation, facts: Facts, standing: Standing | None) -> GateState:
    """Closed only for a version that never served here."""
    if facts.manifest is None or facts.model is None:
        return GateState(Gate.open)
    notes = mapping(facts.service, "metadata", "annotations")
    served = {facts.good.model_digest: facts.good.target.version} if facts.good is not None else {}
    if standing is not None and standing.up:
        served = {text(notes, MODEL_DIGEST_ANNOTATION): standing.target.version}
    if facts.model.digest in served or (standing is not None and standing.target.digest == facts.digest):
        return GateState(Gate.open)
    return gate_state(observation, facts.manifest, facts.model, next(iter(served.values()), ""))


def _situation(facts: Facts, standing: Standing | None, gate: GateState) -> Situation:
    spec = facts.manifest.spec if facts.manifest is not None else None
    return Situation(
        target=facts.target,
        standing=standing,
        good=facts.good.target if facts.good is not None else None,
        gate=gate.gate,
        gate_words=gate.words,
        deadline_seconds=spec.rollout.deadline_seconds if spec is not None else 1800,
        asleep=spec is not None and bool(wished_suspend(spec)),
    )


def _children(
    observation: Observation,
    facts: Facts,
    standing: Standing | None,
    gate: GateState,
    decision: RolloutDecision | None,
    settings: Settings,
) -> Iterator[Action]:
    """In the order in which they are done: guards before pods, the record of what is good before anything moves on."""
    if facts.taken or decision is None or facts.leaving:
        return
    if facts.manifest is not None and facts.model is not None:
        yield from _guarded(observation, facts.manifest)
        yield from _gated(observation, gate, decision)
    if facts.service is not None and standing is not None:
        yield from _recorded(observation, facts, standing, decision)
    yield from _served(observation, facts, standing, decision, settings)


def _guarded(observation: Observation, manifest: ModelDeployment) -> Iterator[Action]:
    wished = {key_of(item): item for item in guards(observation.parent, manifest.spec, observation.served)}
    for there, item in wished.items():
        before = observation.get(there)
        if before is None:
            yield Create(item)
        elif (
            text(before, "metadata", "annotations", DIGEST_ANNOTATION)
            != item["metadata"]["annotations"][DIGEST_ANNOTATION]
        ):
            change = {"metadata": {"annotations": item["metadata"]["annotations"]}}
            yield patch_of(before, {**change, "spec": difference(mapping(before, "spec"), item["spec"])})
        elif edited := lacking(mapping(before, "spec"), content(item)["spec"]):
            yield patch_of(before, {"spec": edited})
    budget = observation.get(key(observation.parent, POD_DISRUPTION_BUDGETS))
    if budget is not None and key_of(budget) not in wished:
        yield Delete(key_of(budget), uid_of(budget))


def _gated(observation: Observation, gate: GateState, decision: RolloutDecision) -> Iterator[Action]:
    """The wished evaluation, and no other: one of a version that is not wished any more only costs."""
    if gate.job is None:
        return
    for there, job in observation.owned(EVALUATION_JOBS):
        if there.name != gate.job["metadata"]["name"] and dig(job, "metadata", "deletionTimestamp") is None:
            yield Delete(there, uid_of(job))
    if decision.step is Step.evaluate:
        yield Create(gate.job)


def _recorded(
    observation: Observation, facts: Facts, standing: Standing, decision: RolloutDecision
) -> Iterator[Action]:
    """What serves is kept, byte for byte, as what one goes back to."""
    assert facts.service is not None
    known = facts.good.target if facts.good is not None else None
    if decision.good is None or decision.good == known:
        return
    notes = mapping(facts.service, "metadata", "annotations")
    written = good_text(standing.target, text(notes, MODEL_DIGEST_ANNOTATION), mapping(facts.service, "spec"))
    if read_good(written) is None:
        return  # somebody took its notes away: nothing to go back to
    data, parent = {GOOD_KEY: written}, observation.parent
    before = observation.get(key(parent, CONFIG_MAPS))
    if before is not None:
        yield patch_of(before, {"data": data})
        return
    metadata = _metadata(parent, labels_of(parent), {})
    yield Create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _served(
    observation: Observation,
    facts: Facts,
    standing: Standing | None,
    decision: RolloutDecision,
    settings: Settings,
) -> Iterator[Action]:
    """The RayService and, for more room, the living clusters under it."""
    service = facts.service
    match decision.step:
        case Step.deploy:
            yield _deploy(observation, facts, settings)
        case Step.roll_back if service is not None and facts.good is not None:
            yield _roll_back(observation, facts, service, decision)
        case Step.recreate if service is not None:
            yield Delete(key_of(service), uid_of(service))
            return
        case _ if service is not None and facts.manifest is not None:
            yield from _scale(observation, facts, facts.manifest, service)
    if service is not None and facts.manifest is not None:
        yield from _room(observation, facts.manifest, service)


def _deploy(observation: Observation, facts: Facts, settings: Settings) -> Action:
    """The wish as the RayService: created, or patched where it differs. A wish that served before comes as it was."""
    parent, manifest, model = observation.parent, facts.manifest, facts.model
    assert manifest is not None
    assert model is not None
    good = facts.good
    if good is not None and good.target.digest == facts.digest:
        spec = scaled(good.spec, manifest.spec)
    else:
        spec = render(parent, manifest, model, facts.digest, settings)
    notes: dict[str, Any] = _notes(Target(facts.digest, model.label), model.digest, observation)
    service = facts.service
    if service is None:
        metadata = _metadata(parent, labels(parent, manifest), notes)
        return Create({"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata, "spec": spec})
    metadata = {"annotations": {**notes, FAILED_ANNOTATION: None}}
    if wished := lacking(mapping(service, "metadata", "labels"), labels(parent, manifest)):
        metadata["labels"] = wished
    return patch_of(service, _body(metadata, service, spec, manifest))


def _roll_back(observation: Observation, facts: Facts, service: Json, decision: RolloutDecision) -> Action:
    """The spec that served last, byte for byte but for its scale, with a note of what is not tried again."""
    good, manifest = facts.good, facts.manifest
    assert good is not None
    failed = {"digest": decision.given_up, "message": decision.message, "class": decision.failure_class}
    notes = _notes(good.target, good.model_digest, observation)
    spec = scaled(good.spec, manifest.spec) if manifest is not None else dict(good.spec)
    metadata = {"annotations": {**notes, FAILED_ANNOTATION: json.dumps(failed, sort_keys=True)}}
    return patch_of(service, _body(metadata, service, spec, manifest))


def _scale(observation: Observation, facts: Facts, manifest: ModelDeployment, service: Json) -> Iterator[Action]:
    """The wished number of replicas over what stands; a given-up wish is forgotten when nobody wishes it any more."""
    metadata: dict[str, Any] = {}
    notes: dict[str, Any] = {}
    standing = mapping(service, "spec")
    wished = scaled(standing, manifest.spec)
    if facts.digest == text(service, "metadata", "annotations", DIGEST_ANNOTATION) and failed_of(service) is not None:
        notes[FAILED_ANNOTATION] = None
    if dig(standing, "suspend") is True and wished.get("suspend") is False:
        notes[SINCE_ANNOTATION] = rfc3339(observation.now)
    if notes:
        metadata["annotations"] = notes
    if more := lacking(mapping(service, "metadata", "labels"), labels(observation.parent, manifest)):
        metadata["labels"] = more
    body = _body(metadata, service, wished, manifest)
    if body:
        yield patch_of(service, body)


def _room(observation: Observation, manifest: ModelDeployment, service: Json) -> Iterator[Action]:
    """KubeRay does not hand group sizes on to a living cluster: beyond its head room it is patched here."""
    for _, cluster in observation.owned(RAY_CLUSTERS, service):
        groups = dig(cluster, "spec", "workerGroupSpecs")
        wished = with_room(mapping(cluster, "spec"), most_replicas(manifest.spec))
        if groups and wished != groups and dig(cluster, "metadata", "deletionTimestamp") is None:
            yield patch_of(cluster, {"spec": {"workerGroupSpecs": wished}})


def _body(
    metadata: Mapping[str, Any], service: Json, spec: Mapping[str, Any], manifest: ModelDeployment | None
) -> dict[str, Any]:
    """A patch's body; empty when nothing differs. `suspend` of a queued RayService is Kueue's."""
    before = mapping(service, "spec")
    wished = dict(spec)
    if (manifest is None or wished_suspend(manifest.spec) is None) and "suspend" in before:
        wished["suspend"] = before["suspend"]
    change = difference(before, wished)
    return {**({"metadata": dict(metadata)} if metadata else {}), **({"spec": change} if change else {})}


def _notes(target: Target, model_digest: str, observation: Observation) -> dict[str, Any]:
    return {
        DIGEST_ANNOTATION: target.digest,
        VERSION_ANNOTATION: target.version,
        MODEL_DIGEST_ANNOTATION: model_digest,
        SINCE_ANNOTATION: rfc3339(observation.now),
    }


def _metadata(parent: Json, labelled: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": base_name(parent),
        "namespace": parent["metadata"]["namespace"],
        "labels": dict(labelled),
        **({"annotations": dict(annotations)} if annotations else {}),
        "ownerReferences": [owner_reference(parent)],
    }
