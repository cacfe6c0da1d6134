"""Whatever happens around a job, in whatever order: plan never raises, settles, and touches only what is the job's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_operator.cluster.api import ClusterError
from modelyard_operator.kinds.actions import Action, Create, Delete, Emit, Patch, Requeue
from modelyard_operator.kinds.conditions import is_over
from modelyard_operator.kinds.fitting import fitted
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    NETWORK_POLICIES,
    RAY_JOBS,
    ROLES,
    SERVICE_ACCOUNTS,
    ObjectKey,
    controller_uid,
    key_of,
    uid_of,
)
from modelyard_operator.kinds.observations import Observation
from modelyard_operator.plan import interest, plan
from support.job_worlds import BEGIN, NAMESPACE, SETTINGS, World, claim, evaluation, failure, job, world

DEPLOYMENTS = ("", "Initializing", "Running", "Suspended", "Retrying", "Complete", "Failed", "ValidationFailed", "New")
JOBS = ("", "PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED")
PHASES = ("Preparing", "Training", "Evaluating", "Registering", "Running", "Succeeded", "Failed", "Suspended")
CLASSES = ("BadData", "WorkerLost", "Storage", "Interrupted", "GateFailed", "OutOfMemory", "Internal")
OURS = (RAY_JOBS, CONFIG_MAPS, ROLES, SERVICE_ACCOUNTS, NETWORK_POLICIES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
Happening = Callable[[World], None]


def newest(w: World) -> int:
    return max(1, int(w.status.get("attempts", 0)))


def kuberay(deployment: str, ray: str, reason: str) -> Happening:
    def happens(w: World) -> None:
        if w.rayjob(newest(w)) in w.store.objects:
            w.kuberay(deployment, ray, newest(w), reason=reason, startTime=w.now.isoformat())

    return happens


def driver(phase: str, failure_class: str, step: int, verdict: str | None) -> Happening:
    def happens(w: World) -> None:
        if w.record(newest(w)) in w.store.objects:
            more: dict[str, Any] = {"verdict": verdict} if verdict else {}
            if phase in ("Failed", "Suspended"):
                more["lastFailure"] = failure(failure_class, retryable=failure_class in ("Storage", "WorkerLost"))
            commit = {"step": step, "path": "x", "time": "2026-11-22T08:00:00Z"}
            w.driver(phase, newest(w), checkpoint=commit, progress={"stage": "train", "step": step}, **more)

    return happens


def scribbled(status: Any) -> Happening:
    """Anything at all in a child's status and the driver's document."""

    def happens(w: World) -> None:
        if w.rayjob(newest(w)) in w.store.objects and isinstance(status, dict):
            w.store.patch(w.rayjob(newest(w)), {"status": status}, subresource="status")
        if w.record(newest(w)) in w.store.objects:
            w.write(json.dumps(status), newest(w))

    return happens


def pod(status: Any) -> Happening:
    def happens(w: World) -> None:
        if w.rayjob(newest(w)) in w.store.objects:
            w.pod(status if isinstance(status, dict) else {}, attempt=newest(w))

    return happens


def suspended(wish: bool) -> Happening:
    return lambda w: w.edit(suspend=wish)


def waited(seconds: int) -> Happening:
    return lambda w: w.tick(seconds)


def deleted(which: int, held: bool) -> Happening:
    """Somebody deletes a child; a finalizer may hold it."""

    def happens(w: World) -> None:
        mine = [key for key in sorted(w.store.objects) if key.resource in OURS]
        if mine:
            key = mine[which % len(mine)]
            w.store.patch(key, {"metadata": {"finalizers": ["ray.io/rayjob-finalizer"] if held else None}})
            if key in w.store.objects:
                w.store.delete(key)

    return happens


def edited(which: int, garbage: Any) -> Happening:
    """Somebody edits a child by hand: its annotations and its content."""

    def happens(w: World) -> None:
        mine = [key for key, item in w.store.objects.items() if controller_uid(item) == uid_of(w.parent)]
        if mine:
            key = sorted(mine)[which % len(mine)]
            content = "data" if key.resource == CONFIG_MAPS else "spec"
            marks = {"modelyard.dev/attempt-ledger": str(garbage), "modelyard.dev/spec-digest": "x"}
            w.store.patch(key, {"metadata": {"annotations": marks}, content: {"x": str(garbage)}})

    return happens


def orphaned(which: int) -> Happening:
    def happens(w: World) -> None:
        mine = [key for key, item in w.store.objects.items() if controller_uid(item) == uid_of(w.parent)]
        if mine:
            w.store.patch(sorted(mine)[which % len(mine)], {"metadata": {"ownerReferences": None}})

    return happens


def foreign(attempt: int, of_status: bool) -> Happening:
    """Somebody takes a name that ours will need."""

    def happens(w: World) -> None:
        key = w.record(attempt) if of_status else w.rayjob(attempt)
        item = {
            "apiVersion": key.resource.api_version,
            "kind": key.resource.kind,
            "metadata": {"name": key.name, "namespace": NAMESPACE, "labels": {"whose": "theirs"}},
        }
        if key not in w.store.objects:
            w.store.create(item)

    return happens


def finished(w: World) -> None:
    """What a finalizer held is let go."""
    for key, item in list(w.store.objects.items()):
        if item["metadata"].get("deletionTimestamp"):
            w.store.patch(key, {"metadata": {"finalizers": None}})


HAPPENINGS: st.SearchStrategy[Happening] = st.one_of(
    st.builds(kuberay, st.sampled_from(DEPLOYMENTS), st.sampled_from(JOBS), st.sampled_from(("", "AppFailed"))),
    st.builds(
        driver,
        st.sampled_from(PHASES),
        st.sampled_from(CLASSES),
        st.integers(0, 50),
        st.sampled_from((None, "Passed", "Failed", "Error")),
    ),
    st.builds(scribbled, JSON),
    st.builds(pod, JSON),
    st.builds(suspended, st.booleans()),
    st.builds(waited, st.sampled_from((1, 45, 130, 4000))),
    st.builds(deleted, st.integers(0, 20), st.booleans()),
    st.builds(edited, st.integers(0, 20), JSON),
    st.builds(orphaned, st.integers(0, 20)),
    st.builds(foreign, st.integers(1, 4), st.booleans()),
    st.just(finished),
)


def touches_only_its_own(seen: Observation, actions: list[Action]) -> None:
    """What is patched or deleted is the parent, controlled by it, or a child of it that nobody controls."""
    uid = uid_of(seen.parent)
    for action in actions:
        match action:
            case Patch(key) | Delete(key):
                if key == key_of(seen.parent):
                    continue
                item = seen.objects[key]
                assert controller_uid(item) == uid or (_adopts(action) and not controller_uid(item)), action
            case Create(item):
                assert key_of(item) not in seen.objects, action
            case Emit() | Requeue():
                pass


def reconcile(w: World) -> None:
    """Plan, do, and find nothing left to do; where orphans were adopted first, once more."""
    for adopting in (True, False):
        if w.parent_key not in w.store.objects:
            return
        seen = w.observation()
        touches_only_its_own(seen, plan(seen, SETTINGS))
        done = w.carry_out(seen)
        if not (adopting and done and all(_adopts(action) for action in done)):
            break
    if w.parent_key in w.store.objects:
        left = [action for action in plan(w.observation(), SETTINGS) if not isinstance(action, Requeue)]
        assert left == [], (done, left)


def _adopts(action: Action) -> bool:
    return isinstance(action, Patch) and set(action.body.get("metadata", ())) == {"ownerReferences"}


@settings(max_examples=60)
@given(
    st.sampled_from((job, evaluation)),
    st.sampled_from((0, 1, 3)),
    st.sampled_from((None, 100)),
    st.lists(st.tuples(HAPPENINGS, st.booleans()), max_size=20),
)
def test_whatever_happens_it_settles_and_touches_only_its_own(
    make: Callable[..., dict[str, Any]], restarts: int, deadline: int | None, story: list[tuple[Happening, bool]]
) -> None:
    spec: dict[str, Any] = {"faultTolerance": {"maxRestarts": restarts}} if make is job else {}
    if deadline is not None:
        spec["runtime"] = {"activeDeadlineSeconds": deadline}
    bystanders = [claim("theirs"), {**job(), "metadata": {"name": "other", "namespace": NAMESPACE}}]
    w = world(make(**spec), *bystanders)
    before = {key: w.store.get(key) for key in map(key_of, bystanders)}
    reconcile(w)
    for happens, looked_at in story:
        happens(w)
        if looked_at:
            reconcile(w)
    reconcile(w)
    for key, item in before.items():
        assert w.store.get(key) == item
    theirs = [item for item in w.store.objects.values() if item["metadata"].get("labels", {}).get("whose") == "theirs"]
    assert all("ownerReferences" not in item["metadata"] for item in theirs)
    one_at_work(w)


def one_at_work(w: World) -> None:
    """Never two RayJobs of a job that nobody is deleting."""
    standing = [
        key
        for key, item in w.store.objects.items()
        if key.resource == RAY_JOBS
        and controller_uid(item) == uid_of(w.parent)
        and not item["metadata"].get("deletionTimestamp")
    ]
    assert len(standing) <= 1, standing


CONDITION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("Accepted", "Progressing", "Suspended", "Complete", "Failed", "Odd")),
        "status": st.sampled_from(("True", "False", "Unknown")),
        "reason": st.just("Because"),
        "message": st.text(max_size=8),
        "lastTransitionTime": st.just("2026-11-22T08:00:00Z"),
    }
)
STATUS = st.fixed_dictionaries(
    {},
    optional={
        "conditions": st.lists(CONDITION, max_size=4),
        "phase": st.text(max_size=8),
        "attempts": st.integers(-5, 2**40),
        "startTime": st.text(max_size=8) | st.just("2026-11-22T08:00:00Z"),
        "completionTime": st.text(max_size=8) | st.just("2026-11-22T08:00:00Z"),
        "progress": JSON,
        "lastFailure": JSON,
        "metrics": JSON,
        "observedGeneration": JSON,
    },
)


@settings(max_examples=150)
@given(spec=JSON, status=STATUS, kind=st.sampled_from(("TrainingJob", "EvaluationJob")))
def test_no_object_that_a_server_may_hold_makes_plan_raise(spec: Any, status: Any, kind: str) -> None:
    """`fitted` is what the schema lets a server hold."""
    metadata = {"name": "x", "namespace": NAMESPACE, "uid": "12345678-aaaa", "resourceVersion": "1", "generation": 1}
    parent: dict[str, Any] = {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata}
    parent |= {"spec": spec, "status": fitted(kind, status)}
    interest(parent, SETTINGS)
    actions = plan(Observation(now=BEGIN, parent=parent), SETTINGS)
    assert [a for a in actions if isinstance(a, Create | Delete)] == []
    if not is_over(parent):
        assert any(isinstance(a, Patch) and a.subresource == "status" for a in actions)


def paths(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [place] if place else []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [deeper for name, inner in entries for deeper in paths(inner, (*place, name))]


RUNTIME: dict[str, Any] = {
    "image": "x", "env": [{"name": "A", "value": "1"}], "volumes": [{"name": "v", "mountPath": "/v", "emptyDir": {}}],
    "head": {"cpu": "1", "memory": "4Gi"}, "queue": "q", "activeDeadlineSeconds": 9, "nodeSelector": {"a": "b"},
}  # fmt: skip
WHOLE = job(runtime=RUNTIME)["spec"]


@settings(max_examples=150)
@given(place=st.sampled_from(paths(WHOLE)), value=JSON)
def test_a_manifest_with_anything_anywhere_is_taken_or_refused_in_words(place: tuple[Any, ...], value: Any) -> None:
    spec = json.loads(json.dumps(WHOLE))
    inner = spec
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    seen = world().observation()
    seen = replace(seen, parent={**seen.parent, "spec": spec})
    actions = plan(seen, SETTINGS)
    (told,) = [a.body["status"] for a in actions if isinstance(a, Patch) and a.subresource == "status"]
    accepted = next(one for one in told["conditions"] if one["type"] == "Accepted")
    created = [a for a in actions if isinstance(a, Create)]
    assert bool(created) == (accepted["status"] == "True" and told["phase"] != "Suspended")
    assert accepted["status"] == "True" or accepted["message"]


def test_a_plan_that_stops_anywhere_goes_on_from_there() -> None:
    """Every prefix of the first plan, then a whole one: the same objects."""
    wanted = _after_start(None)
    for stop in range(12):
        assert _after_start(stop) == wanted, stop


def _after_start(stop: int | None) -> dict[ObjectKey, Any]:
    w = world()
    seen = w.observation()
    if stop is not None:
        w.do(seen, plan(seen, SETTINGS)[:stop])
    w.settle()
    return {key: _content(item) for key, item in w.store.objects.items()}


def _content(item: Any) -> dict[str, Any]:
    server = ("uid", "resourceVersion", "ownerReferences")
    metadata = {name: value for name, value in item["metadata"].items() if name not in server}
    return {**item, "metadata": metadata, "involvedObject": None}


def test_reading_on_from_a_stale_cache_ends_in_the_same_world() -> None:
    """A reconcile that sees only some of the last one's writes stops at a fault and harms nothing."""
    w = world()
    first = w.observation()
    w.settle()
    full = w.observation()
    for hidden in sorted(full.objects.keys() - first.objects.keys()):
        partial = {key: item for key, item in full.objects.items() if key != hidden}
        version = w.store.version
        try:
            w.carry_out(replace(full, objects=partial))
        except ClusterError:
            pass
        else:
            raise AssertionError(f"{hidden} was made twice")
        assert w.store.version == version, hidden
