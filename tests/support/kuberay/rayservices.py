"""The RayService controller of KubeRay v1.7 as a pure function: a RayService, what is around it, the clock → writes.

NewCluster and None are played; NewClusterWithIncrementalUpgrade is not (it needs a Gateway).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard_operator.kinds.objects import PODS, RAY_CLUSTERS, SERVICES, Json, ObjectKey, key_of
from support.kuberay.pods import is_head, is_ready
from support.kuberay.rayclusters import cluster_of_service, hash_of
from support.kuberay.serve_services import serve_port, service_name, service_of
from support.kuberay.validation import rayservice_fault
from support.kuberay.vocabulary import (
    CLUSTER_LABEL,
    EXTERNAL_MANAGER,
    GROUPS_ANNOTATION,
    HASH_ANNOTATION,
    NODE_LABEL,
    SERVE_LABEL,
    SERVICE_FINALIZER,
    VERSION,
    VERSION_ANNOTATION,
    AddFinalizer,
    Change,
    DropFinalizer,
    Make,
    Names,
    PutServeConfig,
    Remove,
    ScheduleDeletion,
    Tell,
    Write,
    WriteStatus,
    condition_of,
    is_true,
    text_of,
    time_of,
    with_condition,
    without_empty,
)

DELETION_DELAY_SECONDS = 60
_TIMEOUT = "ray.io/initializing-timeout"


@dataclass(frozen=True)
class World:
    """What the controller sees around a RayService.

    `clusters` by name (those it owns), `pods` of them, `services` by name, `applications` by cluster (None: the
    dashboard does not answer), `healthy`: clusters whose head's Serve proxy answers; `deletions` and `configs` are
    the controller's own memory, lost when it starts anew.
    """

    clusters: Mapping[str, Json] = field(default_factory=dict)
    pods: Sequence[Json] = ()
    services: Mapping[str, Json] = field(default_factory=dict)
    applications: Mapping[str, Mapping[str, Json] | None] = field(default_factory=dict)
    healthy: frozenset[str] = frozenset()
    deletions: Mapping[str, datetime] = field(default_factory=dict)
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Turn:
    service: Json
    world: World
    now: datetime
    names: Names

    @property
    def spec(self) -> Json:
        spec: Json = self.service["spec"]
        return spec

    @property
    def name(self) -> str:
        name: str = self.service["metadata"]["name"]
        return name

    @property
    def status(self) -> Json:
        status: Json = self.service.get("status", {})
        return status

    @property
    def generation(self) -> int:
        generation: int = self.service["metadata"].get("generation", 1)
        return generation

    def place(self, name: str) -> ObjectKey:
        return ObjectKey(RAY_CLUSTERS, self.service["metadata"]["namespace"], name)

    def cluster(self, part: str) -> Json | None:
        return self.world.clusters.get(_named(self.status, part))

    def conditioned(self, status: Json, kind: str, value: str, reason: str, message: str = "") -> dict[str, Any]:
        return with_condition(status, kind, value, reason, message or reason, self.now, self.generation)


def _named(status: Json, part: str) -> str:
    name: str = status.get(part, {}).get("rayClusterName", "")
    return name


def next_state(service: Json, world: World, now: datetime, names: Names) -> list[Write]:
    """One reconcile: the writes it makes, in order; an empty list when it rests."""
    turn = _Turn(service, world, now, names)
    if turn.spec.get("managedBy") == EXTERNAL_MANAGER:
        return []
    finalizers = service["metadata"].get("finalizers", ())
    if "deletionTimestamp" in service["metadata"]:
        done = not world.clusters and SERVICE_FINALIZER in finalizers
        return [DropFinalizer(SERVICE_FINALIZER)] if done else _clean(turn)
    if SERVICE_FINALIZER not in finalizers:
        return [*_clean(turn), AddFinalizer(SERVICE_FINALIZER)]
    return [*_clean(turn), *_living(turn)]


def _living(turn: _Turn) -> list[Write]:
    if fault := rayservice_fault(turn.service):
        failed = turn.conditioned(turn.status, "Ready", "False", "ValidationFailed", fault)
        return [Tell("Warning", "InvalidRayServiceSpec", fault), *_write(turn, failed)]
    suspending = _suspend(turn)
    if suspending is not None:
        return suspending
    if condition_of(turn.status, "Ready").get("reason") == "InitializingTimeout":
        return []  # final: only deleting it and making another helps
    return _reconcile(turn)


def _clean(turn: _Turn) -> list[Write]:
    """Clusters that are neither active nor pending go after the delay; all at once when the service is deleted."""
    deleted = "deletionTimestamp" in turn.service["metadata"]
    kept = set() if deleted else {_named(turn.status, part) for part in ("activeServiceStatus", "pendingServiceStatus")}
    delay = timedelta(seconds=turn.spec.get("rayClusterDeletionDelaySeconds", DELETION_DELAY_SECONDS))
    writes: list[Write] = []
    for name, cluster in sorted(turn.world.clusters.items()):
        if name in kept or "deletionTimestamp" in cluster["metadata"]:
            continue
        due = turn.world.deletions.get(name)
        if deleted or (due is not None and turn.now > due):
            writes.append(Remove(turn.place(name)))
        elif due is None:
            writes.append(ScheduleDeletion(name, turn.now + delay))
    return writes


def _suspend(turn: _Turn) -> list[Write] | None:
    """None: no suspension is asked for or under way. Once Suspending is stored it goes on to the end."""
    status, wished = turn.status, turn.spec.get("suspend", False)
    if is_true(status, "Suspended"):
        return [] if wished else _write(turn, _resumed(turn))
    if not is_true(status, "Suspending"):
        return _write(turn, _suspending(turn)) if wished else None
    mine = {service_name(turn.service, "head"), service_name(turn.service, "serve")}
    left = [*turn.world.clusters.values(), *(item for name, item in turn.world.services.items() if name in mine)]
    if left:
        return [Remove(key_of(item)) for item in left if "deletionTimestamp" not in item["metadata"]]
    new = turn.conditioned(status, "Suspending", "False", "SuspendComplete")
    new = turn.conditioned(new, "Suspended", "True", "SuspendComplete")
    for kind in ("Ready", "UpgradeInProgress"):
        new = turn.conditioned(new, kind, "False", "SuspendComplete")
    return _write(turn, new)


def _suspending(turn: _Turn) -> dict[str, Any]:
    status = {key: turn.status[key] for key in ("conditions",) if key in turn.status}
    status = turn.conditioned(status, "Suspending", "True", "SuspendRequested")
    for kind in ("Ready", "UpgradeInProgress"):
        status = turn.conditioned(status, kind, "False", "SuspendInProgress")
    return {**status, "observedGeneration": turn.generation, "numServeEndpoints": 0}


def _resumed(turn: _Turn) -> dict[str, Any]:
    status = turn.conditioned(turn.status, "Suspended", "False", "Resumed")
    fresh = [entry for entry in status["conditions"] if entry["type"] not in ("Ready", "UpgradeInProgress")]
    status = {**status, "conditions": fresh}
    for kind in ("Ready", "UpgradeInProgress"):
        status = turn.conditioned(status, kind, "False", "Initializing")
    return status


def _reconcile(turn: _Turn) -> list[Write]:
    pending_name = _named(turn.status, "pendingServiceStatus")
    active, pending = turn.cluster("activeServiceStatus"), turn.cluster("pendingServiceStatus")
    writes: list[Write] = []
    if pending_name and pending is None:
        pending = cluster_of_service(turn.service, pending_name)
        writes.append(Make(pending))
    else:
        writes += _update(turn, active, is_active=True) + _update(turn, pending, is_active=False)
    for cluster in (active, pending):
        writes += _label_head(turn, cluster)
    serving, ready = _served(turn, active, pending)
    if ready and serve_port(turn.service) is None and "serveService" not in turn.spec:
        return writes  # an error in every turn: no Service, never ready, and the status says nothing of it
    if serving is not None:
        writes += _serve_writes(turn, serving)
    writes += _service_writes(turn, serving) if ready and serving is not None else []
    return [*writes, *_write(turn, _status(turn, active, pending, serving, ready=ready))]


def _served(turn: _Turn, active: Json | None, pending: Json | None) -> tuple[Json | None, bool]:
    """The cluster whose Serve applications are looked after in this turn, and whether they may take the traffic."""
    serving = pending if pending is not None else active
    if serving is active and active is not None and _needs_new(turn, active, None):
        return None, False  # a new cluster is due: the active one is left as it is
    if serving is None or not is_true(serving.get("status", {}), "HeadPodReady"):
        return None, False
    found = turn.world.applications.get(serving["metadata"]["name"]) or {}
    return serving, bool(found) and all(entry.get("status") == "RUNNING" for entry in found.values())


def _serve_writes(turn: _Turn, cluster: Json) -> list[Write]:
    name = cluster["metadata"]["name"]
    found = turn.world.applications.get(name)
    if found is None:
        return []
    config = turn.spec.get("serveConfigV2", "")
    fresh = bool(found) and turn.world.configs.get(name) == config
    return [] if fresh else [PutServeConfig(name, config)]


def _update(turn: _Turn, cluster: Json | None, *, is_active: bool) -> list[Write]:
    """In place: a group appended at the end; and, of the active cluster, whatever came with a new KubeRay."""
    if cluster is None or (is_active and is_true(turn.status, "UpgradeInProgress")):
        return []
    annotations = cluster["metadata"].get("annotations", {})
    if not (is_active and annotations.get(VERSION_ANNOTATION) != VERSION) and (
        _same(turn, cluster) or not _same(turn, cluster, partly=True)
    ):
        return []
    goal = cluster_of_service(turn.service, cluster["metadata"]["name"])
    body = {"metadata": {key: goal["metadata"][key] for key in ("labels", "annotations")}, "spec": goal["spec"]}
    return [Change(turn.place(cluster["metadata"]["name"]), body)]


def _same(turn: _Turn, cluster: Json, *, partly: bool = False) -> bool:
    annotations = cluster["metadata"].get("annotations", {})
    groups = int(annotations.get(GROUPS_ANNOTATION, 0)) if partly else None
    goal = turn.spec["rayClusterConfig"]
    if partly and len(goal.get("workerGroupSpecs", ())) < (groups or 0):
        return False
    return bool(annotations.get(HASH_ANNOTATION) == hash_of(goal, groups))


def _needs_new(turn: _Turn, active: Json | None, pending: Json | None) -> bool:
    cluster = pending if pending is not None else active
    if cluster is None:
        return True
    if _same(turn, cluster) or _same(turn, cluster, partly=True):
        return False
    return bool(turn.spec.get("upgradeStrategy", {}).get("type", "NewCluster") != "None")


def _label_head(turn: _Turn, cluster: Json | None) -> list[Write]:
    """The head takes part in the serve Service when its own Serve proxy is healthy."""
    if cluster is None:
        return []
    name = cluster["metadata"]["name"]
    wished = name in turn.world.healthy and not turn.spec.get("excludeHeadPodFromServeSvc", False)
    for pod in _pods(turn, name):
        if is_head(pod) and pod["metadata"]["labels"].get(SERVE_LABEL) != str(wished).lower():
            body = {"metadata": {"labels": {SERVE_LABEL: str(wished).lower()}}}
            return [Change(ObjectKey(PODS, turn.place(name).namespace, pod["metadata"]["name"]), body)]
    return []


def _pods(turn: _Turn, cluster: str) -> list[Json]:
    return [pod for pod in turn.world.pods if pod["metadata"]["labels"].get(CLUSTER_LABEL) == cluster]


def _service_writes(turn: _Turn, cluster: Json) -> list[Write]:
    """The head and serve Services, turned to this cluster."""
    name, writes = cluster["metadata"]["name"], []
    selectors = {"head": {CLUSTER_LABEL: name, NODE_LABEL: "head"}, "serve": {CLUSTER_LABEL: name, SERVE_LABEL: "true"}}
    for role, selector in selectors.items():
        found = turn.world.services.get(service_name(turn.service, role))
        if found is None:
            writes.append(Make(service_of(turn.service, role, selector)))
        elif found["spec"].get("selector") != selector:
            key = ObjectKey(SERVICES, turn.place(name).namespace, found["metadata"]["name"])
            writes.append(Change(key, {"spec": {"selector": selector}}))
    return list(writes)


def _status(turn: _Turn, active: Json | None, pending: Json | None, serving: Json | None, *, ready: bool) -> Json:
    """The status: promotion, the need of a new cluster, endpoints, conditions. Applications only where looked after."""
    found = turn.world.applications.get(serving["metadata"]["name"]) if serving is not None else None
    apps = {name: dict(entry) for name, entry in (found or {}).items()}
    parts = {}
    for part, cluster in (("activeServiceStatus", active), ("pendingServiceStatus", pending)):
        fields = {
            "rayClusterName": _named(turn.status, part),
            "rayClusterStatus": cluster.get("status", {}) if cluster is not None else {},
            "applicationStatuses": apps if cluster is not None and cluster is serving else {},
        }
        parts[part] = without_empty(fields)
    promoted = ready and serving is pending and pending is not None
    if promoted:
        parts = {"activeServiceStatus": parts["pendingServiceStatus"], "pendingServiceStatus": {}}
    if not promoted and _needs_new(turn, active, pending):
        parts["pendingServiceStatus"] = {"rayClusterName": f"{turn.name}-{turn.names()}"}
    status = {**turn.status, **parts, "observedGeneration": turn.generation, "numServeEndpoints": _endpoints(turn)}
    status = _conditions(turn, status)
    return without_empty({**status, "serviceStatus": "Running" if is_true(status, "Ready") else ""})


def _endpoints(turn: _Turn) -> int:
    """Ready Pods behind the serve Service as it stands before this turn's writes (slices follow later)."""
    service = turn.world.services.get(service_name(turn.service, "serve"))
    if service is None:
        return 0
    selector = service["spec"].get("selector", {})
    return sum(is_ready(pod) and selector.items() <= pod["metadata"]["labels"].items() for pod in turn.world.pods)


def _conditions(turn: _Turn, status: dict[str, Any]) -> dict[str, Any]:
    if not status.get("conditions"):
        for kind in ("Ready", "UpgradeInProgress"):
            status = turn.conditioned(status, kind, "False", "Initializing", "RayService is initializing")
    if status["numServeEndpoints"] > 0:
        status = turn.conditioned(status, "Ready", "True", "NonZeroServeEndpoints")
    elif is_true(status, "Ready"):
        status = turn.conditioned(status, "Ready", "False", "ZeroServeEndpoints")
    else:
        status = _timed_out(turn, status)
    active, pending = (bool(_named(status, part)) for part in ("activeServiceStatus", "pendingServiceStatus"))
    if active:
        value, reason = ("True", "BothActivePendingClustersExist") if pending else ("False", "NoPendingCluster")
        return turn.conditioned(status, "UpgradeInProgress", value, reason)
    if condition_of(status, "UpgradeInProgress").get("reason") not in {"Initializing", "InitializingTimeout"}:
        return turn.conditioned(status, "UpgradeInProgress", "Unknown", "NoActiveCluster")
    return status


def _timed_out(turn: _Turn, status: dict[str, Any]) -> dict[str, Any]:
    limit = _seconds(turn.service["metadata"].get("annotations", {}).get(_TIMEOUT, ""))
    ready = condition_of(status, "Ready")
    if not limit or ready.get("reason") != "Initializing":
        return status
    if turn.now < time_of(ready["lastTransitionTime"]) + timedelta(seconds=limit):
        return status
    unnamed = {**status, "activeServiceStatus": {}, "pendingServiceStatus": {}}
    return turn.conditioned(unnamed, "Ready", "False", "InitializingTimeout")


def _seconds(text: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1}
    if text.isdigit():
        return float(text)
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))


def _write(turn: _Turn, new: Json) -> list[Write]:
    """Nothing when nothing but observedGeneration or a time changed."""
    if _compared(turn.status) == _compared(new):
        return []
    return [WriteStatus({**new, "lastUpdateTime": text_of(turn.now)})]


def _compared(status: Json) -> dict[str, Any]:
    bare = {key: value for key, value in status.items() if key not in ("observedGeneration", "lastUpdateTime")}
    for part in ("activeServiceStatus", "pendingServiceStatus"):
        fields = dict(bare.pop(part, {}))
        fields["rayClusterStatus"] = {
            key: value for key, value in fields.get("rayClusterStatus", {}).items() if key != "lastUpdateTime"
        }
        bare[part] = fields
    bare["conditions"] = [{**entry, "observedGeneration": 0} for entry in bare.get("conditions", ())]
    return without_empty(bare)
