"""The scenarios in which the operator is disturbed: what users do, what becomes of the pods, how much time passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.spec import ModelDeployment
from modelyard_operator.cluster.store import numbered_uids
from modelyard_operator.kinds.names import MANAGED_BY, base_name
from modelyard_operator.kinds.objects import CONFIG_MAPS, TRAINING_JOBS, Json, ObjectKey
from modelyard_operator.plan.deployments.gates import evaluation_job
from modelyard_operator.plan.manifests import manifest_of
from modelyard_operator.plan.registry_index import ModelVersion
from support.crashes.foreign import foreign
from support.crashes.stages import Deed, Scenario, Stage
from support.deployment_worlds import PLACE as DEPLOYMENT
from support.deployment_worlds import deployment, digest, index
from support.job_worlds import NAMESPACE, claim, evaluation, failure, job
from support.kuberay import Attempt, Moment, Script
from support.kuberay import scripts as played

JOB = ObjectKey(TRAINING_JOBS, NAMESPACE, "small")


def creates(*items: Json) -> Deed:
    """Somebody creates objects, at once."""
    return lambda stage: _done([stage.store.create(item) for item in items])


def edits(key: ObjectKey, **spec: Any) -> Deed:
    """Somebody changes members of a spec."""
    return lambda stage: _done(stage.store.patch(key, {"spec": spec}))


def deletes(key: ObjectKey) -> Deed:
    """Somebody deletes an object."""
    return lambda stage: stage.store.delete(key)


def upgrades(stage: Stage) -> None:
    """The operator's process is replaced by another one."""
    stage.upgrade()


def says(phase: str, after: float, kind: str = "TrainingJob", name: str = "small", **fields: Any) -> Moment:
    """The driver writes its status document."""
    return Moment(after, document={"schema": 1, "kind": kind, "name": name, "phase": phase, **fields})


def _done(_: object) -> None:
    """A deed has no answer."""


_PROGRESS = {"stage": "train", "step": 10, "totalSteps": 100, "tokens": 5120}
_TRAINS = says("Training", 2, progress=_PROGRESS)
_MODEL = {"name": "small", "version": 1, "digest": digest(1)}
_ENDS_WELL = (
    says("Succeeded", 4, progress={"stage": "register", "step": 100, "totalSteps": 100}, model=_MODEL),
    Moment(5, job="SUCCEEDED"),
)
_RUNS_ON = played.runs(_TRAINS, suspended=says("Suspended", 0, lastFailure=failure("Interrupted")).document)
_SUCCEEDS = played.runs(_TRAINS, *_ENDS_WELL)
_BREAKS = played.runs(
    _TRAINS,
    says("Failed", 3, progress=_PROGRESS, lastFailure=failure("BadData", "no document can be read")),
    Moment(4, job="FAILED", message=played.EXIT_ONE),
)
_WORKER_LOST = played.runs(_TRAINS, Moment(4, job="FAILED", message=played.EXIT_ONE))
_EVALUATION = {
    "suites": [{"name": "heldout", "task": "perplexity", "sources": [{"name": "heldout", "path": "corpus/"}]}],
    "gates": [{"metric": "heldout/bits_per_byte", "atMost": 2.5}],
}
GATED = {"deadlineSeconds": 60, "evaluation": _EVALUATION}


def verdict(word: str, name: str = "check") -> Attempt:
    """An evaluation that ends with a verdict; the exit code of one that says no is 1."""
    passed = {"Passed": "True", "Failed": "False"}[word]
    condition = {
        "type": "Passed", "status": passed, "reason": "GatesPassed" if passed == "True" else "GateFailed",
        "message": "heldout/bits_per_byte 3.1, at most 2.5", "lastTransitionTime": "2026-11-22T08:00:00Z",
    }  # fmt: skip
    told = says("Succeeded", 3, "EvaluationJob", name, verdict=word, conditions=[condition])
    if word == "Passed":
        return played.runs(told, Moment(4, job="SUCCEEDED"))
    return played.runs(told, Moment(4, job="FAILED", message=played.EXIT_ONE))


def _seconds(number: int) -> tuple[float, ...]:
    """So many seconds, one by one: nothing that KubeRay or a driver does is passed over."""
    return (1.0,) * number


def _training(attempts: tuple[Attempt, ...], *course: Deed | float, shared: int = 0, **spec: Any) -> Scenario:
    return Scenario((creates(job(**spec)), *course), (claim(),), Script(jobs={"small": attempts}), shared)


def _registry(versions: int, **aliases: int) -> Deed:
    """The registry has so many versions now, and these aliases."""
    item = _index(versions, **aliases)
    key = ObjectKey(CONFIG_MAPS, NAMESPACE, item["metadata"]["name"])
    return lambda stage: _done(stage.store.patch(key, {"data": item["data"]}))


def _index(versions: int, **aliases: int) -> dict[str, Any]:
    made = index([digest(number + 1) for number in range(versions)], aliases)
    made["metadata"]["labels"] = dict(MANAGED_BY)
    return made


def _serving(script: Script, *course: Deed | float, shared: int = 0) -> Scenario:
    return Scenario((creates(deployment()), *course), (claim(), _index(1, stable=1)), script, shared)


def _name_taken() -> Scenario:
    """Somebody's ConfigMap stands where the job's snapshot would, until it is deleted."""
    base = base_name({"metadata": {"name": "small", "uid": _uid_of_what_comes_next()}})
    key = ObjectKey(CONFIG_MAPS, NAMESPACE, base)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": base, "namespace": NAMESPACE}}
    course: tuple[Deed | float, ...] = (creates(job()), *_seconds(5), deletes(key), *_seconds(9))
    return Scenario(course, (claim(), theirs), Script(jobs={"small": (_RUNS_ON,)}))


def _uid_of_what_comes_next() -> str:
    """The uid that the twin will give the first object after those that stand from the beginning."""
    uids = numbered_uids()
    return [uids() for _ in range(len(foreign()) + 3)][-1]


def _gated(word: str, *course: Deed | float, already: int = 0) -> Scenario:
    """A second version that must be evaluated before it serves."""
    script = Script(job=verdict(word, _name_of_the_gate()))
    wish = (edits(DEPLOYMENT, rollout=GATED), _registry(2, stable=2))
    return _serving(script, *_seconds(8), *wish, *_seconds(12), *course, shared=8 + already)


def _name_of_the_gate() -> str:
    parent = deployment(rollout=GATED)
    parent["metadata"]["uid"] = _uid_of_what_comes_next()
    manifest = manifest_of(parent)
    assert isinstance(manifest, ModelDeployment)
    gate = evaluation_job(parent, manifest, ModelVersion("small", 2, digest(2)), "small@1")
    assert gate is not None
    name: str = gate["metadata"]["name"]
    return name


SCENARIOS: Mapping[str, Scenario] = {
    "create": _training((_RUNS_ON,), *_seconds(5), 5.0),
    "succeed": _training((_SUCCEEDS,), *_seconds(10), 60.0, shared=4),
    "fail": _training((_BREAKS,), *_seconds(10), 60.0, shared=4),
    "retry": _training((_WORKER_LOST, _SUCCEEDS), *_seconds(9), 5.0, 5.0, *_seconds(12), 60.0, shared=4),
    "retries used up": _training((_WORKER_LOST,), *_seconds(9), 5.0, 5.0, *_seconds(12), 60.0, shared=16,
         faultTolerance={"maxRestarts": 1}),
    "suspend": _training((_RUNS_ON,), *_seconds(5), edits(JOB, suspend=True), *_seconds(8), 60.0, shared=5),
    "suspend before the driver starts": _training((played.NO_IMAGE,), *_seconds(6), edits(JOB, suspend=True),
         *_seconds(8), 60.0, shared=1),
    "resume": _training((_RUNS_ON, _SUCCEEDS), *_seconds(5), edits(JOB, suspend=True), *_seconds(8), 60.0,
         edits(JOB, suspend=False), *_seconds(12), shared=15),
    "deadline": _training((_RUNS_ON,), *_seconds(14), 60.0, shared=5, runtime={"activeDeadlineSeconds": 6}),
    "delete": _training((_RUNS_ON,), *_seconds(5), deletes(JOB), *_seconds(2), 60.0, shared=5),
    "expire": _training((_SUCCEEDS,), *_seconds(10), 20.0, 20.0, shared=4, runtime={"ttlSecondsAfterFinished": 30}),
    "name taken": _name_taken(),
    "verdict passed": Scenario((creates(evaluation()), *_seconds(13)), (claim(),), Script(job=verdict("Passed"))),
    "verdict failed": Scenario((creates(evaluation()), *_seconds(13)), (claim(),), Script(job=verdict("Failed")),
         shared=5),
    "deploy": _serving(Script(), *_seconds(8), 20.0),
    "scale": _serving(Script(), *_seconds(8), edits(DEPLOYMENT, replicas=3), *_seconds(4), 20.0, shared=8),
    "new version": _serving(Script(), *_seconds(8), _registry(2, stable=2), *_seconds(8), 30.0, 30.0, 30.0, 30.0,
         shared=8),
    "roll back": _serving(Script(services={"small@2": played.DEPLOY_FAILS}), *_seconds(8), _registry(2, stable=2),
         *_seconds(8), 30.0, 30.0, 30.0, 30.0, shared=8),
    "gate fails": _gated("Failed", 30.0),
    "gate passes": _gated("Passed", *_seconds(4), 30.0, 30.0, 30.0, 30.0, already=9),
    "undeploy": _serving(Script(), *_seconds(8), deletes(DEPLOYMENT), *_seconds(2), 20.0, shared=8),
    "upgrade": Scenario((creates(job(), deployment()), *_seconds(8), upgrades, 1.0, 20.0),
         (claim(), _index(1, stable=1)), Script(jobs={"small": (_RUNS_ON,)}), shared=9),
}  # fmt: skip
"""What is to be shown by name, and what else an operator does. `shared`: calls before are tried in another scenario."""
