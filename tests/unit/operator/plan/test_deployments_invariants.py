"""What holds for a deployment's plan in any world: random children, statuses, indexes, probes, manifests.

It never raises, writes nothing that is not its own, and has nothing left to do when it was carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard_operator.cluster.executing import execute
from modelyard_operator.cluster.memory import MemoryCluster
from modelyard_operator.cluster.observing import observe
from modelyard_operator.cluster.store import Store
from modelyard_operator.kinds.actions import Action, Create, Delete, Emit, Patch, Requeue
from modelyard_operator.kinds.names import base_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVALUATION_JOBS,
    NETWORK_POLICIES,
    PODS,
    RAY_CLUSTERS,
    RAY_SERVICES,
    SERVICES,
    ObjectKey,
    Resource,
    controller_uid,
    key_of,
    owner_reference,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation, Probe
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.deployments import interest, plan, probes
from support.deployment_worlds import NAMESPACE, PLACE, deployment, digest, index
from support.job_worlds import claim

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTINGS = Settings()
DIGESTS = [digest(number) for number in (1, 2, 3)]
EVALUATION = {
    "suites": [{"name": "a", "task": "perplexity", "sources": [{"name": "a", "path": "c/"}]}],
    "gates": [{"metric": "a/perplexity", "atMost": 9}],
}

specs = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["registry://small@stable", "registry://small@2", "registry://small", "./folder"]),
        "replicas": st.integers(0, 3),
        "autoscaling": st.sampled_from([{"maxReplicas": 3}, {"minReplicas": 0, "maxReplicas": 12}]),
        "storage": st.sampled_from([None, {"claimName": "yard"}, {"claimName": "other"}]),
        "rollout": st.sampled_from([{"deadlineSeconds": 9}, {"strategy": "canary"}, {"evaluation": EVALUATION}]),
        "runtime": st.sampled_from([{"queue": "gpus"}, {"image": "mine:1"}, {"serviceAccountName": "someone"}]),
        "engine": st.sampled_from([{"maxSequences": 4}, {"name": "vllm"}, {"speed": 9}]),
    },
)
sound = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "rollout": st.sampled_from([{"deadlineSeconds": 9}, {"evaluation": EVALUATION}]),
        "runtime": st.sampled_from([{"queue": "gpus"}, {"image": "mine:1"}]),
    },
)
junk = st.sampled_from([None, "", "x", 0, [], ["x"], {}, {"x": None}, [{}], [None], True])
times = st.sampled_from(["2026-11-22T11:59:58Z", "2026-11-22T08:00:00Z", "yesterday"])
clusters = st.sampled_from(["", "one", "two", "three"])
sides = st.fixed_dictionaries(
    {"rayClusterName": clusters},
    optional={
        "applicationStatuses": st.sampled_from(
            [{"modelyard": {"status": status, "message": "no"}} for status in ("RUNNING", "DEPLOY_FAILED", "NEWER")]
        )
    },
) | junk  # fmt: skip
ready = st.builds(
    lambda status, reason, generation: {
        "type": "Ready", "status": status, "reason": reason, "observedGeneration": generation,
        "lastTransitionTime": "2026-11-22T11:59:00Z",
    },
    st.sampled_from(["True", "False"]),
    st.sampled_from(["NonZeroServeEndpoints", "ZeroServeEndpoints", "InitializingTimeout", "ValidationFailed"]),
    st.integers(0, 1),
)  # fmt: skip
suspended = st.fixed_dictionaries(
    {"type": st.just("Suspended"), "status": st.just("False"), "lastTransitionTime": times}
)
service_statuses = st.fixed_dictionaries(
    {},
    optional={
        "conditions": st.lists(ready | suspended, max_size=2) | junk,
        "activeServiceStatus": sides,
        "pendingServiceStatus": sides,
        "numServeEndpoints": st.integers(0, 3) | junk,
    },
)
owners = st.sampled_from(["ours", "ours", "ours", "theirs", "nobody's"])


likely = st.sampled_from([True, True, True, True, False])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Store, Mapping[str, Probe]]:
    """A twin with a ModelDeployment, and what its endpoint answers: often a world that may be, sometimes any."""
    store = Store(now=lambda: NOW)
    wish = draw(specs) if not draw(likely) else draw(sound)
    if "autoscaling" in wish and draw(likely):
        wish["replicas"] = None
    parent = store.create(deployment(**wish))
    if draw(likely):
        store.create(claim())
    if draw(likely):
        item = index(DIGESTS, {"stable": draw(st.integers(1, 3))})
        store.create(item if draw(likely) else {**item, "data": {"index.json": draw(st.sampled_from(["", "{"]))}})
    answers: dict[str, Probe] = {}
    for _ in range(draw(st.integers(0, 4))):  # the operator has been here before; KubeRay and others acted since
        carry_out(store, plan(seen(store, answers), SETTINGS))
        meddle(store, parent, draw)
        answers = answer(store, parent, draw)
        wish_again(store, draw)
    return store, answers


def answer(store: Store, parent: Any, draw: st.DrawFn) -> dict[str, Probe]:
    url = f"http://{base_name(parent)}.team.svc:8000/health"
    service = store.objects.get(ObjectKey(RAY_SERVICES, NAMESPACE, base_name(parent)), {"metadata": {}})
    pinned = service["metadata"].get("annotations", {}).get("modelyard.dev/version", "")
    healthy, version = (
        draw(likely),
        pinned if draw(likely) else draw(st.sampled_from(["small@1", "small@2", "elsewhere"])),
    )
    failures = 0 if healthy else draw(st.integers(1, 4))
    said = Probe(url, healthy, version if healthy else "", "" if healthy else "HTTP 503", failures)
    return {url: said} if draw(likely) else {}


def wish_again(store: Store, draw: st.DrawFn) -> None:
    match draw(st.sampled_from(["same", "same", "engine", "alias", "replicas"])):
        case "engine":
            store.patch(PLACE, {"spec": {"engine": draw(st.sampled_from([{"maxSequences": 4}, {"maxSequences": 8}]))}})
        case "replicas" if "autoscaling" not in store.get(PLACE)["spec"]:
            store.patch(PLACE, {"spec": {"replicas": draw(st.integers(0, 30))}})
        case "alias":
            place = ObjectKey(CONFIG_MAPS, NAMESPACE, "modelyard-model-small")
            if place in store.objects:
                store.patch(place, {"data": index(DIGESTS, {"stable": draw(st.integers(1, 3))})["data"]})


def meddle(store: Store, parent: Any, draw: st.DrawFn) -> None:
    name = base_name(parent)
    if not draw(likely):
        for resource in draw(st.sets(st.sampled_from([RAY_SERVICES, CONFIG_MAPS, NETWORK_POLICIES, SERVICES]))):
            put(store, resource, name, parent, draw)
    place = ObjectKey(RAY_SERVICES, NAMESPACE, name)
    if place in store.objects:
        if draw(likely):
            kuberay(store, place, draw)
        else:
            change(store, place, draw)
    for job in [key for key in store.objects if key.resource == EVALUATION_JOBS]:
        verdict = draw(st.sampled_from(["Passed", "Failed", ""]))
        conditions = [{"type": "Complete", "status": draw(st.sampled_from(["True", "False"]))}]
        store.patch(job, {"status": {"verdict": verdict, "conditions": conditions}}, subresource="status")


def kuberay(store: Store, place: ObjectKey, draw: st.DrawFn) -> None:
    """What KubeRay might have done: clusters of this wish or another, one of them active, one pending."""
    for cluster in ("one", "two"):
        there = ObjectKey(RAY_CLUSTERS, NAMESPACE, cluster)
        if there in store.objects and draw(st.booleans()):
            store.delete(there)
        if there not in store.objects and draw(likely):
            put_cluster(store, cluster, store.get(place), draw)
    parts = {}
    named = {"activeServiceStatus": ["one", "one", "two", ""], "pendingServiceStatus": ["", "", "", "two", "one"]}
    for part, names in named.items():
        state = draw(st.sampled_from(["RUNNING", "RUNNING", "DEPLOY_FAILED"]))
        applications = {"modelyard": {"status": state, "message": "no"}}
        parts[part] = {"rayClusterName": draw(st.sampled_from(names)), "applicationStatuses": applications}
    store.patch(place, {"status": {**parts, "conditions": [draw(ready)]}}, subresource="status")
    if draw(st.booleans()):
        store.patch(place, {"metadata": {"annotations": {"modelyard.dev/rollout-started": "2026-11-22T08:00:00Z"}}})


def put(store: Store, resource: Resource, name: str, parent: Any, draw: st.DrawFn) -> None:
    if ObjectKey(resource, NAMESPACE, name) in store.objects:
        return
    owner = {"ours": [owner_reference(parent)], "theirs": [{**owner_reference(parent), "uid": "other"}]}
    metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": owner.get(draw(owners), [])}
    data = {"last-good.json": draw(st.sampled_from(["", "{", "[]", '{"digest": "a", "version": "b"}']))}
    item = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "data": data, "spec": {}}
    store.create(item)


def change(store: Store, place: ObjectKey, draw: st.DrawFn) -> None:
    notes = draw(
        st.dictionaries(
            st.sampled_from(["spec-digest", "version", "model-digest", "rollout-started", "rolled-back-from"]),
            st.sampled_from(["", "x", "small@1", "{", '{"digest": "x", "message": "no", "class": "y"}', digest(1)])
            | times,
            max_size=2,
        )
    )
    body: dict[str, Any] = {
        "metadata": {"annotations": {f"modelyard.dev/{name}": value for name, value in notes.items()}}
    }
    if draw(st.booleans()):
        body["spec"] = {draw(st.sampled_from(["serveConfigV2", "rayClusterConfig", "suspend"])): draw(junk)}
    store.patch(place, body)
    store.patch(place, {"status": draw(service_statuses)}, subresource="status")
    for cluster in draw(st.sets(st.sampled_from(["one", "two"]))):
        if ObjectKey(RAY_CLUSTERS, NAMESPACE, cluster) not in store.objects:
            put_cluster(store, cluster, store.get(place), draw)


def put_cluster(store: Store, name: str, service: Any, draw: st.DrawFn) -> None:
    worn = service["metadata"].get("annotations", {}).get("modelyard.dev/spec-digest", "")
    notes = {"modelyard.dev/spec-digest": draw(st.sampled_from([worn, worn, worn, worn, "other"]))}
    group = {"groupName": "replicas", "maxReplicas": draw(st.integers(0, 4))}
    spec = {
        "headGroupSpec": {"template": {"metadata": {"annotations": notes}}},
        "workerGroupSpecs": draw(st.just([group]) | junk),
    }
    metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner_reference(service)]}
    made = store.create({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": spec})
    labels = {"modelyard.dev/kind": "modeldeployment", "modelyard.dev/name": "small", "ray.io/group": "replicas"}
    item = {"name": f"{name}-pod", "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner_reference(made)]}
    store.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": item, "status": draw(st.just({"phase": "Running"}) | junk)}
    )


def seen(store: Store, answers: Mapping[str, Probe]) -> Observation:
    found = asyncio.run(observe(MemoryCluster(store), PLACE, lambda parent: interest(parent, SETTINGS), now=NOW))
    assert found is not None
    return replace(found, probes={url: answers[url] for url in probes(found) if url in answers})


def carry_out(store: Store, actions: list[Action]) -> None:
    asyncio.run(execute(MemoryCluster(store), store.get(PLACE), actions, lambda: NOW))


def own(store: Store, key: ObjectKey) -> bool:
    """The parent itself, or controlled by it at any depth."""
    item = store.get(key)
    by_uid = {uid_of(other): other for other in store.objects.values()}
    while uid_of(item) != uid_of(store.get(PLACE)):
        item = by_uid.get(controller_uid(item), {})
        if not item:
            return False
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_it_never_raises_touches_nothing_foreign_and_comes_to_rest(world: tuple[Store, Mapping[str, Probe]]) -> None:
    """At once, but for what must be gone first (a RayService that is made anew, an evaluation that is superseded), and
    for a RayService that is woken: only then is it asked whether it answers.
    """
    store, answers = world
    for _ in range(4):
        actions = plan(seen(store, answers), SETTINGS)
        assert actions == plan(seen(store, answers), SETTINGS)
        work = [action for action in actions if not isinstance(action, Requeue)]
        for action in work:
            check(store, action)
        carry_out(store, actions)
        if not any(isinstance(action, Delete) or wakes(action) for action in work):
            break
    assert [action for action in plan(seen(store, answers), SETTINGS) if not isinstance(action, Requeue)] == []


def wakes(action: Action) -> bool:
    return isinstance(action, Patch) and action.body.get("spec", {}).get("suspend") is False


def check(store: Store, action: Action) -> None:
    match action:
        case Create(item):
            assert key_of(item) not in store.objects
            assert item["metadata"]["ownerReferences"][0]["uid"] == uid_of(store.get(PLACE))
        case Patch(key, _, uid, version, _) if key.resource != PODS:
            assert own(store, key)
            assert (uid, version) == (uid_of(store.get(key)), store.get(key)["metadata"]["resourceVersion"])
        case Delete(key, uid):
            assert own(store, key)
            assert uid == uid_of(store.get(key))
        case Emit(_, reason, message):
            assert reason
            assert message
        case _:
            raise AssertionError(f"a deployment has no business with {action}")
