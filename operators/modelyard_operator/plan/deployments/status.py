"""A deployment's status: a function of the facts and of what was decided. It says the same once that is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.records import FailureDigest
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.actions import Emit
from modelyard_operator.kinds.conditions import ACCEPTED, AVAILABLE, PROGRESSING, ConditionStatus, with_condition
from modelyard_operator.kinds.fitting import fitted
from modelyard_operator.kinds.names import base_name
from modelyard_operator.kinds.objects import PODS, RAY_CLUSTERS, Json
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.deployments.facts import MODEL_DIGEST_ANNOTATION, Facts, doubted, key, probe_of
from modelyard_operator.plan.deployments.guards import replica_selector
from modelyard_operator.plan.deployments.pods import SERVE_PORT
from modelyard_operator.plan.deployments.rayservices import wished_suspend
from modelyard_operator.plan.deployments.rollouts import RolloutDecision, Standing
from modelyard_operator.plan.reading import clipped, listed, mapping, rfc3339, text, whole

_TROUBLE = {
    Reason.ROLLED_BACK, Reason.ROLLOUT_FAILED, Reason.GATE_FAILED, Reason.NOT_ANSWERING, Reason.INVALID_MANIFEST,
    Reason.MODEL_NOT_FOUND, Reason.STORAGE_NOT_READY, Reason.REFERENCE_NOT_FOUND, Reason.NAME_TAKEN,
    Reason.KUBERAY_MISSING,
}  # fmt: skip


def url_of(parent: Json, settings: Settings) -> str:
    """Where the endpoint answers, for anyone in the cluster."""
    host = f"{base_name(parent)}.{parent['metadata']['namespace']}.svc.{settings.cluster_domain}"
    return f"http://{host}:{SERVE_PORT}"


def status_of(
    observation: Observation,
    facts: Facts,
    standing: Standing | None,
    decision: RolloutDecision | None,
    settings: Settings,
) -> dict[str, Any]:
    """The whole status as it should be."""
    parent = observation.parent
    before = mapping(parent, "status")
    replicas, ready = _replicas(observation, facts)
    failure = _failure(standing, decision)
    wished: dict[str, Any] = {
        "phase": _phase(facts, standing, decision, ready, doubted(observation)),
        "conditions": list(_conditions(observation, facts, standing, decision, settings)),
        "observedGeneration": whole(parent, "metadata", "generation"),
        "model": _model(facts, standing, before),
        "replicas": replicas,
        "readyReplicas": ready,
        "serviceName": base_name(parent),
        "selector": ",".join(f"{name}={value}" for name, value in sorted(replica_selector(parent).items())),
        "url": url_of(parent, settings),
        "lastFailure": failure.to_dict() if failure is not None else None,
    }
    return fitted(parent["kind"], wished)


def _conditions(
    observation: Observation,
    facts: Facts,
    standing: Standing | None,
    decision: RolloutDecision | None,
    settings: Settings,
) -> tuple[Json, ...]:
    accepted: ConditionStatus = "False" if facts.model is None else "True"
    available = _available(observation, facts, standing, settings)
    down = available[1] is Reason.NOT_ANSWERING
    progress: tuple[ConditionStatus, Reason, str] = ("False", facts.reason, facts.message)
    if decision is not None:
        progress = ("True" if decision.progressing else "False", decision.reason, decision.message)
        if decision.reason is Reason.ROLLED_OUT and facts.model is None:  # what serves is not what is wished any more
            serves = "" if down else ", and serves on"
            progress = ("False", facts.reason, f"{decision.message}{serves}; {facts.message}")
        elif decision.reason is Reason.ROLLED_OUT and down:
            progress = ("False", *available[1:])
    conditions = old_conditions(observation.parent)
    for kind, (status, reason, message) in {
        ACCEPTED: (accepted, facts.reason, facts.message),
        AVAILABLE: available,
        PROGRESSING: progress,
    }.items():
        conditions = with_condition(
            conditions, kind, status, reason, clipped(message, 8192), now=rfc3339(observation.now),
            generation=whole(observation.parent, "metadata", "generation"),
        )  # fmt: skip
    return conditions


def old_conditions(parent: Json) -> tuple[Json, ...]:
    """The conditions that stand; what is none is passed over."""
    fields = ("type", "status", "reason", "message", "lastTransitionTime")
    return tuple(
        one for one in listed(parent, "status", "conditions") if all(isinstance(one.get(name), str) for name in fields)
    )


def _asleep(facts: Facts, standing: Standing | None) -> bool:
    """No replicas are wished for, whether the RayService is there already or not."""
    if standing is not None:
        return standing.asleep
    return facts.manifest is not None and bool(wished_suspend(facts.manifest.spec))


def _available(
    observation: Observation, facts: Facts, standing: Standing | None, settings: Settings
) -> tuple[ConditionStatus, Reason, str]:
    if _asleep(facts, standing):
        return "False", Reason.SCALED_TO_ZERO, "no replicas are wished for"
    if standing is not None and standing.answers:
        version = standing.answered_version or "it"
        return "True", Reason.ANSWERING, f"{version} answers at {url_of(observation.parent, settings)}"
    if doubted(observation):
        before = next(one for one in old_conditions(observation.parent) if one["type"] == AVAILABLE)
        return "True", Reason.ANSWERING, before["message"]
    probe = probe_of(observation)
    said = f": {clipped(probe.message, 512)}" if probe is not None and probe.message else ""
    return "False", Reason.NOT_ANSWERING, f"nothing answers yet or any more{said}"


def _phase(facts: Facts, standing: Standing | None, decision: RolloutDecision | None, ready: int, doubt: bool) -> str:
    """One word for people."""
    reason = decision.reason if decision is not None else facts.reason
    if standing is None or _asleep(facts, standing):
        if decision is not None and decision.reason == Reason.ROLLING_OUT:
            return "Deploying"
        return "Failed" if reason == Reason.GATE_FAILED else "Pending"
    if decision is not None and decision.progressing:
        return "Deploying"
    if not (standing.answers or doubt):
        return "Failed" if reason == Reason.ROLLOUT_FAILED else "Degraded"
    as_wished = facts.model is not None and reason == Reason.ROLLED_OUT and ready >= _fewest(facts)
    return "Ready" if as_wished else "Degraded"


def _fewest(facts: Facts) -> int:
    spec = facts.manifest.spec if facts.manifest is not None else None
    if spec is None:
        return 0
    return spec.autoscaling.min_replicas if spec.autoscaling is not None else spec.replicas or 0


def _replicas(observation: Observation, facts: Facts) -> tuple[int, int]:
    """Replicas that there are and that are ready, in the cluster that takes the traffic: each fills a pod."""
    active = text(facts.service, "status", "activeServiceStatus", "rayClusterName")
    cluster = observation.get(key(observation.parent, RAY_CLUSTERS, active)) if active else None
    if cluster is None:
        return 0, 0
    wanted = replica_selector(observation.parent)
    pods = [pod for _, pod in observation.owned(PODS, cluster) if _carries(pod, wanted) and _lives(pod)]
    return len(pods), sum(_is_ready(pod) for pod in pods)


def _carries(pod: Json, labels: Mapping[str, str]) -> bool:
    carried = mapping(pod, "metadata", "labels")
    return all(carried.get(name) == value for name, value in labels.items())


def _lives(pod: Json) -> bool:
    return text(pod, "status", "phase") not in ("Succeeded", "Failed") and not text(
        pod, "metadata", "deletionTimestamp"
    )


def _is_ready(pod: Json) -> bool:
    """Ready, and seen by KubeRay as one whose proxy answers."""
    ready = any(
        text(one, "type") == "Ready" and text(one, "status") == "True" for one in listed(pod, "status", "conditions")
    )
    return bool(ready) and text(pod, "metadata", "labels", "ray.io/serve") == "true"


def _model(facts: Facts, standing: Standing | None, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """The version that answers, or that answered last."""
    known = dict(mapping(before, "model")) or None
    if standing is None or not standing.answers:
        return known
    digests = {} if facts.model is None else {facts.model.label: facts.model.digest}  # a version never changes
    digests.setdefault(standing.target.version, text(facts.service, "metadata", "annotations", MODEL_DIGEST_ANNOTATION))
    if facts.good is not None:
        digests.setdefault(facts.good.target.version, facts.good.model_digest)
    name, _, number = standing.answered_version.partition("@")
    digest = digests.get(standing.answered_version)
    if not digest or not number.isdecimal():
        return known
    return {"name": name, "version": int(number), "digest": digest}


def _failure(standing: Standing | None, decision: RolloutDecision | None) -> FailureDigest | None:
    if decision is not None and decision.failure_class is not None:
        return FailureDigest(failure_class=decision.failure_class, message=decision.message)
    side = standing.own if standing is not None and not standing.up else None
    if side is None or not side.hint:
        return None
    return FailureDigest(failure_class=side.failure_class, message=side.hint, retryable=True)


def events(parent: Json, wished: Mapping[str, Any]) -> Iterator[Emit]:
    """What the transition to a status tells, before it is written."""
    before = {one["type"]: one for one in old_conditions(parent)}
    for after in wished["conditions"]:
        then = before.get(after["type"])
        if _is_told(after, then):
            kind = "Warning" if after["reason"] in _TROUBLE else "Normal"
            yield Emit("Warning" if kind == "Warning" else "Normal", after["reason"], after["message"])


def _is_told(after: Json, then: Json | None) -> bool:
    """Progressing tells every change, Accepted and Available a change of their status or reason."""
    if after["type"] == PROGRESSING:
        if after["reason"] in _TOLD_ELSEWHERE:
            return False
        return then is None or _saying(then) != _saying(after)
    if then is None:
        return bool(after["type"] == ACCEPTED or after["status"] == "True")
    if after["reason"] == Reason.NOT_ANSWERING and then["status"] == "False":
        return False  # it wakes: nothing that answered is lost
    return bool((then["status"], then["reason"]) != (after["status"], after["reason"]))


def _saying(condition: Json) -> tuple[str, str]:
    return condition["reason"], condition["message"]


_TOLD_ELSEWHERE = {  # by Accepted, or by Available
    Reason.INVALID_MANIFEST, Reason.MODEL_NOT_FOUND, Reason.STORAGE_NOT_READY, Reason.REFERENCE_NOT_FOUND,
    Reason.NAME_TAKEN, Reason.KUBERAY_MISSING, Reason.NOT_ANSWERING,
}  # fmt: skip
