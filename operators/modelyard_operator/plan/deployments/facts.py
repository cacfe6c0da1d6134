"""What an observation says of a deployment: accepted or why not, what stands, what was good, what answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, get_args

from modelyard.errors import FailureClass
from modelyard.spec import ModelDeployment
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds.conditions import AVAILABLE, is_true
from modelyard_operator.kinds.names import DIGEST_ANNOTATION, GROUP, base_name, index_name, labels_of
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    NETWORK_POLICIES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RAY_CLUSTERS,
    RAY_SERVICES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Json,
    ObjectKey,
    Resource,
    controller_uid,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation, Probe
from modelyard_operator.plan.deployments.pods import SERVE_PORT
from modelyard_operator.plan.deployments.rayservices import (
    APPLICATION,
    DEPLOYMENT,
    RESTART_ANNOTATION,
    scaled,
    wish_digest,
    wished_suspend,
)
from modelyard_operator.plan.deployments.rollouts import Side, Standing, Target
from modelyard_operator.plan.manifests import Refused, manifest_of
from modelyard_operator.plan.pods import PodFact, pod_fact
from modelyard_operator.plan.reading import clipped, dig, listed, mapping, moment, text, whole
from modelyard_operator.plan.registry_index import ModelVersion, Unresolved, model_of, resolve
from modelyard_operator.plan.volumes import claim_fault, clashes

VERSION_ANNOTATION = f"{GROUP}/version"  # `name@version` that a RayService serves
MODEL_DIGEST_ANNOTATION = f"{GROUP}/model-digest"
SINCE_ANNOTATION = f"{GROUP}/rollout-started"
FAILED_ANNOTATION = f"{GROUP}/rolled-back-from"  # what was given up and why, as JSON
FAILURES = 3  # in a row: Kubernetes' own habit with readiness probes
GOOD_KEY = "last-good.json"
_ERROR = re.compile(r"(?:[a-z_]\w*\.)*\w*(?:Error|Exception): (.+)")  # a traceback's last line
_OURS = (RAY_SERVICES, CONFIG_MAPS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS)


@dataclass(frozen=True)
class Good:
    """The wish that last served: its target, the version's digest, and the RayService's spec, byte for byte."""

    target: Target
    model_digest: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What is so. Without `model` the manifest is not accepted now, for `reason` and `message`."""

    manifest: ModelDeployment | None
    model: ModelVersion | None
    reason: Reason
    message: str
    service: Json | None = None
    good: Good | None = None
    digest: str = ""
    taken: frozenset[ObjectKey] = field(default_factory=frozenset)

    @property
    def target(self) -> Target | None:
        """The wish, when it can be met."""
        return None if self.model is None else Target(self.digest, self.model.label)

    @property
    def leaving(self) -> bool:
        """The RayService is being deleted, and another one cannot stand there yet."""
        return dig(self.service, "metadata", "deletionTimestamp") is not None


def key(parent: Json, resource: Resource, name: str = "") -> ObjectKey:
    """Where a child of the parent lies; without a name the one that it has once."""
    return ObjectKey(resource, parent["metadata"]["namespace"], name or base_name(parent))


def needs(parent: Json) -> Iterator[ObjectKey]:
    """What must be there before a deployment can be accepted: index, claims, account. Reads the raw spec."""
    spec = dig(parent, "spec")
    model = model_of(dig(spec, "model"))
    if model is not None:
        yield key(parent, CONFIG_MAPS, index_name(model))
    claims = [text(spec, "storage", "claimName")]
    claims += [text(volume, "persistentVolumeClaim", "claimName") for volume in listed(spec, "runtime", "volumes")]
    yield from (key(parent, PERSISTENT_VOLUME_CLAIMS, name) for name in sorted(set(claims)) if name)
    if account := text(spec, "runtime", "serviceAccountName"):
        yield key(parent, SERVICE_ACCOUNTS, account)


def look(observation: Observation) -> Facts:
    """All facts but those of the rollout."""
    parent = observation.parent
    taken = frozenset(_taken(observation))
    known = Facts(
        manifest=None,
        model=None,
        reason=Reason.INVALID_MANIFEST,
        message="",
        service=None if key(parent, RAY_SERVICES) in taken else observation.get(key(parent, RAY_SERVICES)),
        good=_good(None if key(parent, CONFIG_MAPS) in taken else observation.get(key(parent, CONFIG_MAPS))),
        taken=taken,
    )
    manifest = manifest_of(parent)
    if not isinstance(manifest, ModelDeployment):
        words = manifest.message if isinstance(manifest, Refused) else f"{manifest.kind} is no ModelDeployment"
        return replace(known, message=words)
    known = replace(known, manifest=manifest)
    refusal = _refusal(observation, manifest, taken)
    if refusal is not None:
        return replace(known, reason=refusal[0], message=refusal[1])
    index = observation.get(key(parent, CONFIG_MAPS, index_name(model_of(manifest.spec.model) or "")))
    model = resolve(manifest.spec.model, index)
    if isinstance(model, Unresolved):
        return replace(known, reason=Reason.MODEL_NOT_FOUND, message=model.message)
    digest = wish_digest(manifest, model, text(parent, "metadata", "annotations", RESTART_ANNOTATION))
    words = f"{manifest.spec.model} is {model.label}"
    return replace(known, model=model, digest=digest, reason=Reason.MANIFEST_ACCEPTED, message=words)


def _refusal(
    observation: Observation, manifest: ModelDeployment, taken: frozenset[ObjectKey]
) -> tuple[Reason, str] | None:
    """Why a well-formed manifest cannot be met here and now."""
    spec, parent = manifest.spec, observation.parent
    if RAY_SERVICES not in observation.served:
        return Reason.KUBERAY_MISSING, "this cluster knows no RayService (ray.io/v1): install KubeRay"
    if spec.storage is None:
        return (
            Reason.INVALID_MANIFEST,
            "spec.storage: is missing; on a cluster the model is read from a claim (add storage: {claimName: …})",
        )
    if spec.replicas == 0 and spec.runtime is not None and spec.runtime.queue:
        return (
            Reason.INVALID_MANIFEST,
            "spec.replicas: is 0, but with runtime.queue Kueue alone puts it to sleep (write 1 or more)",
        )
    clashing = ((clash.reason, clash.message) for clash in clashes(spec.runtime))
    lacking = (_lacking(observation, wanted, manifest) for wanted in needs(parent) if wanted.resource != CONFIG_MAPS)
    if refusal := next((one for one in (*clashing, *lacking) if one is not None), None):
        return refusal
    if taken:
        words = ", ".join(f"{there.resource.kind} {there.name}" for there in sorted(taken))
        return Reason.NAME_TAKEN, f"what stands there is not of this ModelDeployment: {words}; delete or rename it"
    return None


def _lacking(observation: Observation, wanted: ObjectKey, manifest: ModelDeployment) -> tuple[Reason, str] | None:
    there = observation.get(wanted)
    claim = wanted.resource == PERSISTENT_VOLUME_CLAIMS
    if there is None:
        reason = Reason.STORAGE_NOT_READY if claim else Reason.REFERENCE_NOT_FOUND
        return reason, f"there is no {wanted.resource.kind} {wanted.name} in this namespace"
    if claim and (fault := claim_fault(there, manifest.spec.runtime, read_only=True)):
        return Reason.STORAGE_NOT_READY, f"the PersistentVolumeClaim {wanted.name} {fault}"
    return None


def _taken(observation: Observation) -> Iterator[ObjectKey]:
    """Places of our children where something stands that is not ours."""
    parent = observation.parent
    for resource in _OURS:
        there = observation.get(key(parent, resource))
        if there is not None and controller_uid(there) != uid_of(parent):
            yield key(parent, resource)
    service = observation.get(key(parent, SERVICES))  # KubeRay makes it, and would take over any of that name
    carried = mapping(service, "metadata", "labels")
    if service is not None and any(carried.get(name) != value for name, value in labels_of(parent).items()):
        yield key(parent, SERVICES)


def _good(record: Json | None) -> Good | None:
    """What the ConfigMap remembers; None when it is not there, or was edited into something else."""
    return read_good(text(record, "data", GOOD_KEY))


def read_good(written: str) -> Good | None:
    """What a text remembers; None when it is none of ours, or not whole."""
    try:
        document = json.loads(written or "null")
    except (ValueError, RecursionError):
        return None
    found = [text(document, name) for name in ("digest", "version", "modelDigest")]
    spec = mapping(document, "spec")
    if not all(found) or "rayClusterConfig" not in spec:
        return None
    return Good(Target(found[0], found[1]), found[2], spec)


def good_text(target: Target, model_digest: str, spec: Mapping[str, Any]) -> str:
    """The ConfigMap's text for what serves now."""
    good = {"schema": 1, "digest": target.digest, "version": target.version, "modelDigest": model_digest, "spec": spec}
    return json.dumps(good, sort_keys=True, separators=(",", ":"))


def health_url(parent: Json) -> str:
    """What is asked whether it answers; the cluster's domain is in every pod's search list."""
    return f"http://{base_name(parent)}.{parent['metadata']['namespace']}.svc:{SERVE_PORT}/health"


def is_ready(service: Json | None) -> bool:
    """KubeRay sees proxies of the serving cluster; of the application that says nothing."""
    return any(text(one, "status") == "True" for one in _ready(service))


def _ready(service: Json | None) -> list[Mapping[str, Any]]:
    return [one for one in listed(service, "status", "conditions") if text(one, "type") == "Ready"]


def may_sleep(parent: Json) -> bool:
    """Whether it goes to zero replicas by itself: asking it would wake it."""
    return bool(dig(parent, "spec", "autoscaling", "minReplicas") == 0)


def standing_of(observation: Observation, facts: Facts) -> Standing | None:
    """The RayService as a rollout sees it, with the wished sleep already laid over it."""
    service = facts.service
    if service is None:
        return None
    notes = mapping(service, "metadata", "annotations")
    target = Target(text(notes, DIGEST_ANNOTATION), text(notes, VERSION_ANNOTATION))
    failed = failed_of(service)
    given_up = text(failed, "digest")
    answers, version = _answers(observation, facts, target)
    asleep, held = _sleep(service, facts.manifest)
    blame: Any = text(failed, "class")
    return Standing(
        target=target,
        since=_since(
            observation.now, service, waking=not asleep and not held and dig(service, "spec", "suspend") is True
        ),
        active=_side(observation, service, "activeServiceStatus"),
        pending=_side(observation, service, "pendingServiceStatus"),
        answers=answers,
        answered_version=version,
        failed="" if facts.target is not None and facts.target.digest == target.digest else given_up,
        failed_words=text(failed, "message"),
        failed_class=blame if blame in get_args(FailureClass) else "Internal",
        refused=_refused(service, facts.manifest),
        final=any(text(one, "reason") == "InitializingTimeout" for one in _ready(service)),
        asleep=asleep,
        held=held,
    )


def failed_of(service: Json | None) -> Any:
    """What was given up: {digest, message, class}; None when nothing was."""
    try:
        return json.loads(text(service, "metadata", "annotations", FAILED_ANNOTATION) or "null")
    except (ValueError, RecursionError):
        return None


def _answers(observation: Observation, facts: Facts, target: Target) -> tuple[bool, str]:
    """Whether requests are answered, and by which version."""
    if may_sleep(observation.parent) and facts.good is not None and facts.good.target.digest == target.digest:
        return is_ready(facts.service), target.version
    probe = probe_of(observation)
    return (probe.healthy, probe.version) if probe is not None and probe.healthy else (False, "")


def probe_of(observation: Observation) -> Probe | None:
    """The endpoint's answer; None when it was not asked."""
    return observation.probes.get(health_url(observation.parent))


def doubted(observation: Observation) -> bool:
    """It answered before, and too few requests in a row have failed to say that it does so no more.

    Only of the endpoint: a rollout asks for answers, and never takes a doubt for one.
    """
    probe = probe_of(observation)
    return probe is not None and 0 < probe.failures < FAILURES and is_true(observation.parent, AVAILABLE)


def _sleep(service: Json, manifest: ModelDeployment | None) -> tuple[bool, bool]:
    """Whether no replicas are wished for, and whether somebody else holds it."""
    suspended = dig(service, "spec", "suspend") is True
    wished = wished_suspend(manifest.spec) if manifest is not None else suspended
    return bool(wished), suspended and wished is None


def _since(now: datetime, service: Json, *, waking: bool) -> datetime:
    """When the deadline began to run: the rollout's start, or the end of a sleep."""
    if waking:
        return now
    begun = moment(service, "metadata", "annotations", SINCE_ANNOTATION) or now
    woken = [
        moment(one, "lastTransitionTime")
        for one in listed(service, "status", "conditions")
        if text(one, "type") == "Suspended" and text(one, "status") == "False"
    ]
    return max([begun, *(time for time in woken if time is not None)])


def _refused(service: Json, manifest: ModelDeployment | None) -> str:
    """KubeRay's words when it will not have the spec as it is now; those about an earlier spec count for nothing."""
    spec = mapping(service, "spec")
    if manifest is not None and scaled(spec, manifest.spec) != spec:
        return ""  # it is about to be another one
    generation = whole(service, "metadata", "generation")
    for one in _ready(service):
        if text(one, "reason") == "ValidationFailed" and whole(one, "observedGeneration") >= generation:
            return f"KubeRay refuses it: {text(one, 'message') or 'ValidationFailed'}"
    return ""


def _side(observation: Observation, service: Json, name: str) -> Side | None:
    status = mapping(service, "status", name)
    cluster_name = text(status, "rayClusterName")
    if not cluster_name:
        return None
    cluster = observation.get(key(observation.parent, RAY_CLUSTERS, cluster_name))
    template = ("spec", "headGroupSpec", "template", "metadata", "annotations", DIGEST_ANNOTATION)
    application = mapping(status, "applicationStatuses", APPLICATION)
    fault = fault_of(application) if text(application, "status") == "DEPLOY_FAILED" else ""
    fact = _pod_fact(observation, cluster)
    blame = fact.failure.failure_class if fact is not None else "Internal"
    return Side(text(cluster, *template), fault, fact.failure.message if fact is not None else "", blame)


def fault_of(application: Mapping[str, Any]) -> str:
    """Why Serve could not deploy an application, in one line: the last error of the traceback that it tells.

    Of a replica that cannot start the deployment's message says it, and the application's only names the deployment.
    """
    replica = text(application, "serveDeploymentStatuses", DEPLOYMENT, "message")
    told = [text(application, "message"), replica] if replica else [text(application, "message")]
    lines = [" ".join(line.split()) for words in told for line in words.splitlines() if line.strip()]
    errors = [found[1] for line in lines if (found := _ERROR.match(line))]
    return clipped((errors or lines or ["Serve could not deploy it"])[-1], 1024)


def _pod_fact(observation: Observation, cluster: Json | None) -> PodFact | None:
    if cluster is None:
        return None
    told = text(observation.parent, "status", "lastFailure", "message")
    return pod_fact((pod for _, pod in observation.owned(PODS, cluster)), told)
