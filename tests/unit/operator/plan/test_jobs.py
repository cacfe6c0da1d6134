"""A job's way through the cluster, told by its status, its events and its children."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modelyard_operator.cluster.api import AlreadyExistsError, ConflictError
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    RAY_JOBS,
    RESOURCES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    ObjectKey,
    key_of,
    owner_reference,
)
from modelyard_operator.plan import plan
from support.deployment_worlds import digest
from support.job_worlds import NAMESPACE, SETTINGS, World, evaluation, failure, job, world

TEMPORARY = (RAY_JOBS, ROLES, ROLE_BINDINGS, SERVICE_ACCOUNTS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS)
OOM = {"containerStatuses": [{"name": "ray-worker", "lastState": {"terminated": {"reason": "OOMKilled"}}}]}


def begun(**spec: object) -> World:
    """A TrainingJob whose first attempt is at work."""
    w = world(job(**spec))
    w.settle()
    w.run()
    return w


def fails(w: World, attempt: int = 1, reason: str = "AppFailed", step: int | None = None) -> None:
    """The attempt's driver dies without a word; `step` is its newest commit."""
    if step is not None:
        w.driver("Training", attempt, checkpoint={"step": step, "path": "x", "time": "2026-11-22T08:00:00Z"})
        w.settle()
    w.kuberay("Failed", "FAILED", attempt, reason=reason, message="exit code 137")
    w.settle()


def base(w: World) -> str:
    return w.rayjob().name.removesuffix("-1")


def test_from_created_to_succeeded() -> None:
    w = world()
    assert w.settle() == 1
    assert (w.status["phase"], w.status["attempts"]) == ("Pending", 1)
    assert w.condition("Accepted") == ("True", "ManifestAccepted")
    assert w.condition("Progressing") == ("True", "Starting")

    w.kuberay("Running", "RUNNING", startTime="2026-11-22T08:00:01Z", dashboardURL="svc.team:8265")
    w.driver("Training", runId="team.small-1", progress={"stage": "train", "step": 7, "tokens": 70})
    assert w.settle() == 1
    assert (w.status["phase"], w.status["progress"]["step"]) == ("Training", 7)
    assert (w.status["dashboardUrl"], w.status["runId"]) == ("http://svc.team:8265", "team.small-1")

    model = {"name": "small", "version": 1, "digest": "sha256:" + "0" * 64}
    w.driver("Succeeded", model=model, progress={"stage": "register", "step": 100})
    w.kuberay("Running", "SUCCEEDED")
    w.settle()
    assert (w.status["phase"], w.condition("Progressing")) == ("Registering", ("True", "Ending"))
    assert w.condition("Complete") == ("", "")

    w.kuberay("Complete", "SUCCEEDED")
    assert w.settle() == 1
    assert (w.status["phase"], w.status["model"]) == ("Succeeded", model)
    assert w.condition("Complete") == ("True", "Completed")
    for resource in TEMPORARY:
        assert w.names(resource) == [], "all but the snapshot is gone"
    assert w.names(CONFIG_MAPS) == ["modelyard-model-small", base(w)], "the snapshot and the registry's index stay"
    assert [reason for _, reason in w.events()] == [
        "ManifestAccepted", "AttemptStarted", "Training", "Ending", "Completed",
    ]  # fmt: skip


def test_a_model_whose_drivers_last_word_was_lost_is_found_in_the_registrys_index() -> None:
    w = world()
    w.settle()
    w.kuberay("Running", "RUNNING", startTime="2026-11-22T08:00:01Z")
    w.driver("Registering", runId="small-1", progress={"stage": "register", "step": 100})
    w.settle()
    of_other_runs = [{"version": 1, "digest": digest(1), "runId": "small-0"}]
    of_this_run = [{"version": 2, "digest": digest(2), "runId": "small-1"}]
    document = {"schema": 1, "name": "small", "versions": of_other_runs + of_this_run, "aliases": {}}
    index = ObjectKey(CONFIG_MAPS, NAMESPACE, "modelyard-model-small")
    w.store.patch(index, {"data": {"index.json": json.dumps(document)}})
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    assert w.status["phase"] == "Succeeded"
    assert w.status["model"] == {"name": "small", "version": 2, "digest": digest(2)}


def test_an_evaluation_is_complete_with_its_verdict() -> None:
    w = world(evaluation())
    w.settle()
    w.run()
    assert (w.status["phase"], w.condition("Progressing")) == ("Running", ("True", "Evaluating"))
    w.driver("Succeeded", verdict="Passed")
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    assert (w.condition("Complete"), w.condition("Passed")) == (("True", "VerdictReached"), ("True", "GatesPassed"))
    assert w.status["verdict"] == "Passed"


@pytest.mark.parametrize("verdict", ["Inconclusive", "Error"])
def test_an_evaluation_that_could_not_decide_is_complete_and_says_so(verdict: str) -> None:
    w = world(evaluation())
    w.settle()
    w.run()
    w.driver("Succeeded", verdict=verdict)
    w.kuberay("Failed", "FAILED", reason="AppFailed")  # exit code 4
    w.settle()
    assert (w.condition("Complete"), w.condition("Passed")) == (("True", "VerdictReached"), ("Unknown", "NoVerdict"))


def test_a_verdict_that_cannot_be_read_is_asked_for_again() -> None:
    w = world(evaluation())
    w.settle()
    w.run()
    w.write('{"schema": 2}')
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    assert w.condition("Complete") == ("", "")
    assert "reads up to 1" in w.status["lastFailure"]["message"]
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2


def test_a_gate_that_says_no_fails_a_training_for_good() -> None:
    w = begun()
    w.driver("Failed", lastFailure=failure("GateFailed", "a gate said no: 2.6 > 2.5"))
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    assert (w.condition("Failed"), w.status["phase"]) == (("True", "GateFailed"), "Failed")
    assert w.status["lastFailure"]["message"] == "a gate said no: 2.6 > 2.5"
    assert w.status["completionTime"] == "2026-11-22T08:00:00Z"
    assert w.names(RAY_JOBS) == []
    assert ("Warning", "GateFailed") in w.events()


def test_a_driver_that_dies_is_followed_by_another_after_a_pause() -> None:
    w = begun()
    fails(w)
    assert (w.status["phase"], w.condition("Progressing")) == ("Pending", ("True", "Retrying"))
    assert w.requeue() == 10
    w.tick(10)
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob(2).name]
    assert (w.status["attempts"], w.condition("Progressing")) == (2, ("True", "Starting"))
    assert w.status["lastFailure"]["class"] == "WorkerLost", "why there is a second attempt stays to be read"
    role = w.get(ROLES, base(w))
    assert role["rules"][0]["resourceNames"][0] == w.record(2).name, "the first attempt's driver is shut out"


def test_the_next_attempt_waits_until_the_pods_of_the_last_are_gone() -> None:
    w = begun()
    w.pod({"phase": "Running"})
    fails(w)
    w.tick(30)
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob(1).name]
    cluster = next(key for key in w.store.objects if key.resource.kind == "RayCluster")
    w.store.delete(cluster)
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob(2).name]


def test_a_cluster_that_never_goes_is_not_waited_for_longer_than_two_minutes() -> None:
    w = begun()
    w.pod({"phase": "Running"})
    fails(w)
    w.tick(120)
    w.settle()
    assert w.status["attempts"] == 2


def test_failures_in_a_row_without_a_commit_end_the_job() -> None:
    w = begun(faultTolerance={"maxRestarts": 2})
    for attempt in (1, 2):
        fails(w, attempt)
        w.tick(360)
        w.settle()
        w.run(attempt + 1)
    fails(w, 3)
    assert w.condition("Failed") == ("True", "RestartsUsedUp")
    assert (w.status["attempts"], w.status["lastFailure"]["class"]) == (3, "WorkerLost")


def test_a_commit_makes_the_count_begin_anew() -> None:
    w = begun(faultTolerance={"maxRestarts": 1})
    for attempt in range(1, 6):
        fails(w, attempt, step=attempt * 20)
        w.tick(360)
        w.settle()
        w.run(attempt + 1)
    assert (w.status["attempts"], w.condition("Failed")) == (6, ("", ""))
    fails(w, 6, step=100)  # the commit of attempt 5, not a new one
    w.tick(360)
    w.settle()
    assert w.condition("Failed") == ("True", "RestartsUsedUp")


def test_a_commit_counts_though_the_last_document_is_torn() -> None:
    w = begun(faultTolerance={"maxRestarts": 1})
    fails(w)
    w.tick(60)
    w.settle()
    w.run(2)
    w.driver("Training", 2, checkpoint={"step": 20, "path": "x", "time": "2026-11-22T08:00:00Z"})
    w.settle()
    w.write("{", 2)
    fails(w, 2)
    assert w.condition("Progressing") == ("True", "Retrying")


def test_no_restarts_means_none() -> None:
    w = begun(faultTolerance={"maxRestarts": 0})
    fails(w)
    assert w.condition("Failed") == ("True", "RestartsUsedUp")


@pytest.mark.parametrize(
    ("last_failure", "reason"),
    [
        (failure("BadData"), "RunFailed"),
        (failure("NonFiniteLoss"), "RunFailed"),
        (failure("OutOfMemory"), "RunFailed"),
        (failure("InvalidManifest"), "RunFailed"),
        (failure("Internal"), "RunFailed"),
        (failure("GateFailed"), "GateFailed"),
        (failure("WorkerLost", retryable=True, where={"stage": "train"}), "RestartsUsedUp"),
        (failure("Hang", retryable=True, where={"stage": "train"}), "RestartsUsedUp"),
    ],
    ids=lambda value: value["class"] if isinstance(value, dict) else value,
)
def test_what_the_driver_calls_final_is_not_tried_again(last_failure: dict[str, object], reason: str) -> None:
    w = begun()
    w.driver("Failed", lastFailure=last_failure)
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    assert w.condition("Failed") == ("True", reason)
    assert w.status["lastFailure"]["class"] == last_failure["class"]


@pytest.mark.parametrize(
    "last_failure",
    [
        failure("Storage", retryable=True),
        failure("Interrupted"),
        failure("WorkerLost", retryable=True, where={"stage": "evaluate"}),
    ],
    ids=lambda value: value["class"],
)
def test_what_may_heal_is_tried_again(last_failure: dict[str, object]) -> None:
    w = begun()
    w.driver("Failed", lastFailure=last_failure)
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2


def test_suspend_lets_the_driver_commit_first() -> None:
    w = begun()
    w.edit(suspend=True)
    w.settle()
    assert w.get(CONFIG_MAPS, w.record().name)["data"]["control"] == "stop"
    assert (w.status["phase"], w.condition("Progressing")) == ("Training", ("True", "Stopping"))
    assert w.requeue() == 120
    w.driver("Suspended", lastFailure=failure("Interrupted"))
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    assert (w.status["phase"], w.condition("Suspended")) == ("Suspended", ("True", "Suspended"))
    assert w.names(RAY_JOBS) == []
    assert "lastFailure" not in w.status


def test_resume_makes_a_new_attempt_that_counts_no_failure() -> None:
    w = begun(faultTolerance={"maxRestarts": 0})
    w.edit(suspend=True)
    w.settle()
    w.driver("Suspended", lastFailure=failure("Interrupted"))
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    w.tick(3600)
    w.edit(suspend=False)
    w.settle()
    assert (w.status["attempts"], w.status["phase"]) == (2, "Pending")
    assert w.condition("Suspended") == ("False", "Resumed")
    w.run(2)
    assert w.status["phase"] == "Training"


def test_every_stop_is_told_of() -> None:
    w = begun()
    for attempt in (1, 2):
        w.edit(suspend=True)
        w.settle()
        w.tick(120)
        w.settle()
        w.tick(60)
        w.edit(suspend=False)
        w.settle()
        w.run(attempt + 1)
    assert [reason for _, reason in w.events()].count("Suspended") == 2


def test_a_driver_that_does_not_stop_is_cut_off_after_two_minutes() -> None:
    w = begun()
    w.edit(suspend=True)
    w.settle()
    w.tick(119)
    assert w.step() == []
    w.tick(1)
    w.settle()
    assert (w.names(RAY_JOBS), w.condition("Suspended")) == ([], ("True", "Suspended"))


def test_it_is_not_suspended_while_the_rayjob_that_was_cut_off_is_still_there() -> None:
    w = begun()
    w.store.patch(w.rayjob(), {"metadata": {"finalizers": ["ray.io/rayjob-finalizer"]}})
    w.edit(suspend=True)
    w.settle()
    w.tick(120)
    w.settle()
    assert (w.status["phase"], w.condition("Progressing")) == ("Pending", ("True", "Stopping"))
    assert w.condition("Suspended") == ("", "")
    w.store.patch(w.rayjob(), {"metadata": {"finalizers": None}})
    w.settle()
    assert w.condition("Suspended") == ("True", "Suspended")


def test_a_crash_between_remembering_and_deleting_leaves_nobody_at_work() -> None:
    w = begun()
    w.edit(suspend=True)
    w.settle()
    w.tick(120)
    seen = w.observation()
    w.do(seen, plan(seen, SETTINGS)[:1])  # the account is closed, and that is all
    w.edit(suspend=False)
    w.tick(3600)
    assert w.settle() == 1
    assert w.names(RAY_JOBS) == []
    assert w.requeue() == 40
    w.tick(40)
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob(2).name]


def test_the_next_attempt_waits_for_a_rayjob_that_will_not_go() -> None:
    w = begun()
    w.store.patch(w.rayjob(), {"metadata": {"finalizers": ["ray.io/rayjob-finalizer"]}})
    w.edit(suspend=True)
    w.settle()
    w.tick(120)
    w.settle()
    w.edit(suspend=False)
    w.tick(3600)
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob(1).name]
    w.store.patch(w.rayjob(), {"metadata": {"finalizers": None}})
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob(2).name]


@pytest.mark.parametrize("deployment", ["", "Initializing", "Suspended"])
def test_what_has_no_driver_yet_is_suspended_at_once(deployment: str) -> None:
    w = world()
    w.settle()
    w.kuberay(deployment)
    w.edit(suspend=True)
    w.settle()
    assert (w.names(RAY_JOBS), w.status["phase"]) == ([], "Suspended")


def test_a_wish_to_suspend_that_is_taken_back_is_taken_from_the_driver_too() -> None:
    w = begun()
    w.edit(suspend=True)
    w.settle()
    w.edit(suspend=False)
    w.settle()
    assert "control" not in w.get(CONFIG_MAPS, w.record().name)["data"]
    assert w.condition("Progressing") == ("True", "Training")


def test_a_driver_that_stopped_for_a_wish_taken_back_goes_on_in_a_new_attempt() -> None:
    w = begun(faultTolerance={"maxRestarts": 0})
    w.edit(suspend=True)
    w.settle()
    w.edit(suspend=False)
    w.driver("Suspended", lastFailure=failure("Interrupted"))
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    assert w.condition("Progressing") == ("True", "Resumed")
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2


def test_a_job_that_is_created_suspended_starts_nothing() -> None:
    w = world(job(suspend=True))
    w.settle()
    assert (w.names(RAY_JOBS), w.status["phase"]) == ([], "Suspended")
    assert w.condition("Accepted") == ("True", "ManifestAccepted")
    w.edit(suspend=False)
    w.settle()
    assert w.names(RAY_JOBS) == [w.rayjob().name]


def test_what_may_change_while_suspended_is_in_the_next_attempt() -> None:
    w = begun()
    w.edit(suspend=True)
    w.settle()
    w.tick(120)
    w.settle()
    w.edit(workers={"count": 3, "resources": {"cpu": "1", "memory": "2Gi"}})
    w.settle()
    w.tick(60)
    w.edit(suspend=False)
    w.settle()
    group = w.store.get(w.rayjob(2))["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert group["replicas"] == 3
    assert "count: 3" in w.get(CONFIG_MAPS, base(w))["data"]["manifest.yaml"]


def test_what_a_suspended_job_could_not_go_on_with_is_told_while_it_may_be_changed() -> None:
    w = world(job(suspend=True))
    w.settle()
    clash = {"name": "modelyard-x", "mountPath": "/x", "emptyDir": {}}
    w.edit(runtime={"volumes": [clash]})
    w.settle()
    assert w.condition("Progressing") == ("False", "Suspended")
    assert "will not go on: spec.runtime.volumes[0].name: is modelyard-x" in w.message("Progressing")
    w.edit(runtime={"volumes": []})
    w.settle()
    assert "will not go on" not in w.message("Progressing")


def test_with_a_queue_the_childs_suspend_is_left_alone() -> None:
    w = world(job(runtime={"queue": "gold"}))
    w.settle()
    made = w.store.get(w.rayjob())
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gold"
    assert "suspend" not in made["spec"]
    w.store.patch(w.rayjob(), {"spec": {"suspend": True}})  # as Kueue's webhook does
    w.kuberay("Suspended")
    w.settle()
    assert w.condition("Progressing") == ("False", "Queued")
    w.store.patch(w.rayjob(), {"spec": {"suspend": False}})
    w.run()
    assert w.status["phase"] == "Training"
    assert w.store.get(w.rayjob())["spec"]["suspend"] is False


def test_waiting_in_a_queue_is_no_time_at_work() -> None:
    w = world(job(runtime={"queue": "gold", "activeDeadlineSeconds": 100}))
    w.settle()
    w.kuberay("Suspended", startTime="2026-01-01T00:00:00Z")  # KubeRay writes it before it looks at `suspend`
    w.settle()
    w.tick(100_000)
    assert w.step() == []
    w.kuberay("", startTime="2026-01-01T00:00:00Z")  # let go, and not begun
    w.settle()
    w.run()
    assert w.status["phase"] == "Training"
    w.tick(100)
    w.settle()
    assert w.condition("Progressing") == ("True", "Stopping")


def test_the_deadline_is_for_all_attempts_together() -> None:
    w = begun(runtime={"activeDeadlineSeconds": 100})
    assert w.requeue() == 100
    w.tick(60)
    fails(w)
    w.tick(50)  # a pause: nothing is at work
    w.settle()
    w.run(2)
    w.tick(39)
    assert w.step() == []
    assert w.requeue() == 1
    w.tick(1)
    w.settle()
    assert w.condition("Progressing") == ("True", "Stopping")
    stops(w, 2)
    assert w.condition("Failed") == ("True", "DeadlineExceeded")
    assert "activeDeadlineSeconds: 100" in w.status["lastFailure"]["message"]


def preempted(w: World, let_go_after: float = 1000) -> None:
    """A queue suspends the RayJob and lets it go later: KubeRay starts the clock anew."""
    w.kuberay("Suspended", "", startTime=stamp(w, began=True))
    w.settle()
    w.tick(let_go_after)
    w.kuberay("", "", startTime=stamp(w, began=True))
    w.settle()
    w.run()


def stamp(w: World, *, began: bool) -> str:
    """The time that KubeRay's status tells: it leaves the old one standing where it has no new one."""
    told: str = w.store.get(w.rayjob())["status"]["startTime"] if began else w.now.isoformat()
    return told


def test_time_at_work_adds_up_over_what_a_queue_takes_back() -> None:
    w = begun(runtime={"queue": "gold", "activeDeadlineSeconds": 100})
    w.tick(60)
    preempted(w)
    w.tick(30)
    preempted(w)
    assert w.status["phase"] == "Training"
    assert w.requeue() == 10
    w.tick(10)
    w.settle()
    assert w.condition("Progressing") == ("True", "Stopping")
    w.kuberay("Suspended", "", startTime=stamp(w, began=True))  # taken back once more, and nobody is at work
    w.settle()
    assert w.condition("Failed") == ("True", "DeadlineExceeded")


def test_the_account_of_the_time_at_work_is_written_once_at_each_end_of_a_spell() -> None:
    w = world(job(runtime={"activeDeadlineSeconds": 5000}))
    w.settle()
    w.kuberay("Initializing", startTime=w.now.isoformat())
    versions = [w.get(CONFIG_MAPS, w.record().name)["metadata"]["resourceVersion"]]
    for deployment in ("Initializing", "Suspended"):
        w.kuberay(deployment, "", startTime=stamp(w, began=True))
        w.settle()
        for _ in range(3):
            w.tick(10)
            assert w.step() == []
        versions.append(w.get(CONFIG_MAPS, w.record().name)["metadata"]["resourceVersion"])
    assert len(set(versions)) == 3


def test_without_a_deadline_no_account_of_the_time_is_kept() -> None:
    w = world()
    w.settle()
    before = w.get(CONFIG_MAPS, w.record().name)["metadata"]["annotations"]
    w.run()
    w.kuberay("Suspended", "")
    w.settle()
    assert w.get(CONFIG_MAPS, w.record().name)["metadata"]["annotations"] == before


def test_what_nobody_saw_taken_back_counts_up_to_its_newest_commit() -> None:
    w = begun(runtime={"queue": "gold", "activeDeadlineSeconds": 100})
    w.tick(60)
    commit = {"step": 5, "path": "x", "time": w.now.isoformat()}
    w.driver("Training", checkpoint=commit)
    w.settle()
    w.tick(5000)  # the operator was away when the queue took it back and let it go
    w.kuberay("Running", "RUNNING", startTime=w.now.isoformat())
    w.settle()
    assert w.requeue() == 40


@pytest.mark.parametrize("suspend", [True, False])
def test_the_work_of_a_rayjob_that_somebody_deletes_counts(suspend: bool) -> None:
    w = begun(runtime={"activeDeadlineSeconds": 100})
    w.tick(60)
    w.edit(suspend=suspend)
    w.store.delete(w.rayjob())
    w.settle()
    if suspend:
        w.tick(1000)
        w.edit(suspend=False)
        w.settle()
    w.run()
    assert w.requeue() == 40


def test_a_job_whose_time_is_spent_makes_no_other_rayjob_when_somebody_deletes_its_own() -> None:
    w = late()
    w.store.delete(w.rayjob())
    w.settle()
    assert (w.names(RAY_JOBS), w.condition("Failed")) == ([], ("True", "DeadlineExceeded"))


def late(**spec: object) -> World:
    """A job whose deadline of 100 s is over while its driver is at work, as the operator has seen."""
    w = begun(runtime={"activeDeadlineSeconds": 100}, faultTolerance={"maxRestarts": 3}, **spec)
    w.tick(100)
    w.settle()
    return w


def stops(w: World, attempt: int = 1) -> None:
    """The driver has committed, as it was asked to, and says so."""
    w.driver("Suspended", attempt, lastFailure=failure("Interrupted", retryable=True))
    w.kuberay("Failed", "FAILED", attempt, reason="AppFailed", endTime=w.now.isoformat())
    w.settle()


def test_the_deadline_lets_the_driver_commit_first() -> None:
    w = late()
    assert w.get(CONFIG_MAPS, w.record().name)["data"]["control"] == "stop"
    assert (w.status["phase"], w.condition("Progressing")) == ("Training", ("True", "Stopping"))
    assert "activeDeadlineSeconds: 100" in w.message("Progressing")
    assert w.requeue() == 120
    assert w.step() == []
    w.tick(5)
    stops(w)
    assert (w.status["phase"], w.condition("Failed")) == ("Failed", ("True", "DeadlineExceeded"))
    assert w.condition("Suspended") == ("", "")
    assert w.names(RAY_JOBS) == []
    w.tick(4000)
    assert w.step() == [], "no other attempt follows"


def test_a_driver_that_does_not_stop_for_the_deadline_is_cut_off_after_two_minutes() -> None:
    w = late()
    w.tick(119)
    assert w.step() == []
    w.tick(1)
    w.settle()
    assert (w.names(RAY_JOBS), w.condition("Failed")) == ([], ("True", "DeadlineExceeded"))


def test_a_driver_that_succeeds_after_the_deadline_has_succeeded() -> None:
    w = late()
    w.driver("Succeeded", progress={"stage": "register", "step": 100})
    w.kuberay("Running", "SUCCEEDED")
    w.tick(130)
    w.settle()
    assert w.condition("Progressing") == ("True", "Ending")
    w.kuberay("Complete", "SUCCEEDED", endTime=w.now.isoformat())
    w.settle()
    assert (w.status["phase"], w.condition("Complete")) == ("Succeeded", ("True", "Completed"))


@pytest.mark.parametrize("deployment", ["Initializing", "Running"])
def test_what_has_no_driver_at_work_is_over_with_its_deadline(deployment: str) -> None:
    w = late()
    w.kuberay(deployment, "")
    w.settle()
    assert (w.names(RAY_JOBS), w.condition("Failed")) == ([], ("True", "DeadlineExceeded"))


def test_a_wish_to_suspend_after_the_deadline_changes_nothing() -> None:
    w = late()
    w.edit(suspend=True)
    w.settle()
    assert "activeDeadlineSeconds: 100" in w.message("Progressing")
    stops(w)
    assert w.condition("Failed") == ("True", "DeadlineExceeded")


def test_who_was_asked_to_suspend_in_time_may_commit_beyond_the_deadline() -> None:
    w = begun(runtime={"activeDeadlineSeconds": 100})
    w.tick(90)
    w.edit(suspend=True)
    w.settle()
    w.tick(20)
    assert w.step() == []
    stops(w)
    assert (w.status["phase"], w.condition("Failed")) == ("Suspended", ("", ""))
    w.tick(600)
    w.edit(suspend=False)
    w.settle()
    assert w.condition("Failed") == ("True", "DeadlineExceeded"), "and is late when it is to go on"


def test_a_deadline_that_is_put_off_while_the_driver_stops_is_heard() -> None:
    w = late()
    w.edit(runtime={"activeDeadlineSeconds": 1000})
    w.settle()
    assert "control" not in w.get(CONFIG_MAPS, w.record().name)["data"]
    assert w.condition("Progressing") == ("True", "Training")
    stops(w)  # it had heard of it already
    assert w.condition("Progressing") == ("True", "Resumed")


def test_a_failure_that_is_final_is_told_rather_than_the_deadline() -> None:
    w = late()
    w.driver("Failed", lastFailure=failure("BadData", "no document can be read"))
    w.kuberay("Failed", "FAILED", endTime=w.now.isoformat())
    w.settle()
    assert (w.condition("Failed"), w.status["lastFailure"]["class"]) == (("True", "RunFailed"), "BadData")


@pytest.mark.parametrize("suspended", [True, False])
def test_a_worker_that_was_out_of_memory_once_does_not_fail_a_run_that_is_asked_to_stop(suspended: bool) -> None:
    w = begun(runtime={"activeDeadlineSeconds": 100})
    w.pod(OOM)
    w.settle()
    w.edit(suspend=suspended)
    w.tick(50 if suspended else 100)
    w.settle()
    stops(w)
    assert w.condition("Suspended" if suspended else "Failed") == (
        "True",
        "Suspended" if suspended else "DeadlineExceeded",
    )


def test_time_suspended_is_no_time_at_work() -> None:
    w = begun(runtime={"activeDeadlineSeconds": 300})
    w.tick(100)
    w.edit(suspend=True)
    w.settle()
    w.tick(120)
    w.settle()
    w.tick(100_000)
    w.edit(suspend=False)
    w.settle()
    w.run(2)
    w.tick(79)
    assert w.step() == []
    w.tick(1)
    w.settle()
    stops(w, 2)
    assert w.condition("Failed") == ("True", "DeadlineExceeded")


def test_a_later_deadline_is_heard_while_it_runs() -> None:
    w = begun(runtime={"activeDeadlineSeconds": 100})
    w.edit(runtime={"activeDeadlineSeconds": 1000})
    w.tick(500)
    w.settle()
    assert w.status["phase"] == "Training"


def test_ttl_deletes_the_finished_job_object_and_nothing_else() -> None:
    w = begun(runtime={"ttlSecondsAfterFinished": 50})
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    assert w.requeue() == 50
    w.tick(49)
    assert w.step() == []
    w.tick(1)
    w.step()
    assert w.parent_key not in w.store.objects
    assert w.names(CONFIG_MAPS) == ["modelyard-model-small"]


def test_deletion_needs_nothing_of_us() -> None:
    w = begun()
    assert "finalizers" not in w.parent["metadata"]
    w.store.delete(w.parent_key)
    assert [key for key in w.store.objects if key.resource in TEMPORARY] == []


def test_a_job_held_by_somebodys_finalizer_is_left_alone_while_it_goes() -> None:
    w = begun()
    w.store.patch(w.parent_key, {"metadata": {"finalizers": ["somebody.example/hold"]}})
    w.store.delete(w.parent_key)
    w.kuberay("Failed", "FAILED")
    assert w.step() == []


def test_a_rayjob_that_somebody_deletes_is_made_again_as_the_same_attempt() -> None:
    w = begun()
    first = w.store.get(w.rayjob())["metadata"]["uid"]
    w.store.delete(w.rayjob())
    w.settle()
    assert w.store.get(w.rayjob())["metadata"]["uid"] != first
    assert w.status["attempts"] == 1


def test_children_that_somebody_deletes_or_edits_come_back() -> None:
    w = begun()
    for resource in (ROLES, ROLE_BINDINGS, SERVICE_ACCOUNTS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS):
        w.store.delete(ObjectKey(resource, NAMESPACE, base(w)))
    w.store.delete(w.record())
    w.settle()
    for resource in TEMPORARY:
        assert len(w.names(resource)) == 1
    w.store.patch(ObjectKey(ROLES, NAMESPACE, base(w)), {"rules": []})
    w.settle()
    assert w.get(ROLES, base(w))["rules"]


def test_a_finished_job_is_done_with_whatever_becomes_of_its_children() -> None:
    w = begun()
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    w.store.delete(ObjectKey(CONFIG_MAPS, NAMESPACE, base(w)))
    assert w.step() == []


def test_what_is_changed_of_a_finished_job_is_seen_and_nothing_else() -> None:
    w = begun()
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    before = w.status
    w.edit(suspend=True)
    assert [getattr(action, "body", None) for action in w.step()] == [
        {"status": {"observedGeneration": w.parent["metadata"]["generation"]}}
    ]
    assert w.status == {**before, "observedGeneration": w.parent["metadata"]["generation"]}
    assert w.step() == []


def test_a_snapshot_edited_by_hand_is_put_right_and_told_of() -> None:
    w = begun()
    key = ObjectKey(CONFIG_MAPS, NAMESPACE, base(w))
    before = w.store.get(key)
    w.store.patch(key, {"data": {"manifest.yaml": "kind: TrainingJob", "more": "x"}})
    w.settle()
    assert w.store.get(key)["data"] == before["data"]
    assert ("Warning", "SnapshotRestored") in w.events()


def test_children_of_a_restored_backup_are_adopted() -> None:
    w = begun()
    keys = [ObjectKey(ROLES, NAMESPACE, base(w)), ObjectKey(CONFIG_MAPS, NAMESPACE, base(w)), w.rayjob(), w.record()]
    for key in keys:
        w.store.patch(key, {"metadata": {"ownerReferences": None}})
    w.settle()
    for key in keys:
        assert w.store.get(key)["metadata"]["ownerReferences"] == [owner_reference(w.parent)]
    assert w.status["attempts"] == 1


def test_without_policy_v1_there_is_no_budget_and_an_event_says_so() -> None:
    served = [resource for resource in RESOURCES if resource != POD_DISRUPTION_BUDGETS]
    w = world(served=served)
    assert w.settle() == 1
    assert ("Normal", "NoDisruptionBudget") in w.events()
    w.run()
    assert w.status["phase"] == "Training"


def test_with_policy_v1_no_pod_of_the_run_is_evicted_by_will() -> None:
    w = begun()
    spec = w.get(POD_DISRUPTION_BUDGETS, base(w))["spec"]
    assert spec["minAvailable"] == 3, "the head and two workers"
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert ("Normal", "NoDisruptionBudget") not in w.events()


def test_a_server_that_drops_a_field_of_the_budget_is_not_written_to_again_and_again() -> None:
    w = begun()
    key = ObjectKey(POD_DISRUPTION_BUDGETS, NAMESPACE, base(w))
    w.store.patch(key, {"spec": {"unhealthyPodEvictionPolicy": None}})
    assert w.settle() == 0
    w.store.patch(key, {"spec": {"minAvailable": 0}})
    assert w.settle() == 1
    assert w.get(POD_DISRUPTION_BUDGETS, base(w))["spec"]["minAvailable"] == 3


def test_a_speed_is_told_only_of_a_driver_at_work() -> None:
    w = begun(runtime={"queue": "gold"})
    still = {"stage": "train", "step": 10, "totalSteps": 100, "tokens": 70}
    progress = {**still, "tokensPerSecond": 500.0, "etaSeconds": 90.0}
    w.driver("Training", progress=progress)
    w.settle()
    assert w.status["progress"] == progress
    w.kuberay("Suspended", "")  # its queue took it back
    w.settle()
    assert w.status["progress"] == still
    w.run()
    w.driver("Training", progress=progress)
    w.edit(suspend=True)
    w.settle()
    assert w.status["progress"] == progress, "it is stopping, and at work"
    w.tick(120)
    w.settle()
    assert (w.status["phase"], w.status["progress"]) == ("Suspended", still)
    w.tick(60)
    w.edit(suspend=False)
    w.settle()
    w.run(2)
    w.driver("Failed", 2, progress=progress, lastFailure=failure("BadData"))
    w.kuberay("Failed", "FAILED", 2)
    w.settle()
    assert (w.status["phase"], w.status["progress"]) == ("Failed", still)


def test_numbers_are_told_as_people_read_them() -> None:
    w = begun()
    progress = {"stage": "train", "step": 10, "totalSteps": 100, "tokensPerSecond": 4711.123456789}
    value = {"suite": "heldout", "metric": "bits_per_byte", "value": 2.2944444444}
    w.driver("Training", progress=progress, metrics={"loss": 5.123456789, "evaluation": [value]})
    w.settle()
    assert w.status["progress"]["tokensPerSecond"] == 4711.12
    assert w.status["metrics"]["loss"] == 5.12346
    assert w.status["metrics"]["evaluation"][0]["value"] == 2.29444


def test_the_driver_may_write_its_status_and_its_models_index_and_nothing_else() -> None:
    w = world()
    w.settle()
    assert w.get(ROLES, base(w))["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [w.record().name, "modelyard-model-small"],
            "verbs": ["get", "patch", "update"],
        }
    ]
    assert w.get(ROLE_BINDINGS, base(w))["subjects"] == [
        {"kind": "ServiceAccount", "name": base(w), "namespace": NAMESPACE}
    ]


def test_the_registrys_index_is_made_once_and_belongs_to_nobody() -> None:
    w = world()
    w.settle()
    index = w.get(CONFIG_MAPS, "modelyard-model-small")
    assert "ownerReferences" not in index["metadata"]
    assert json.loads(index["data"]["index.json"])["versions"] == []
    w.store.patch(ObjectKey(CONFIG_MAPS, NAMESPACE, "modelyard-model-small"), {"data": {"index.json": "{}"}})
    assert w.step() == [], "what stands there is the registry's"


def test_rays_ports_are_closed_to_outsiders() -> None:
    w = world()
    w.settle()
    spec = w.get(NETWORK_POLICIES, base(w))["spec"]
    open_to_all = [port["port"] for rule in spec["ingress"] if "from" not in rule for port in rule["ports"]]
    assert open_to_all == [8080]
    labels = w.store.get(w.rayjob())["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()


def test_nothing_is_written_when_nothing_changes() -> None:
    w = begun()
    version = w.store.version
    for _ in range(5):
        w.tick(600)
        assert w.step() == []
    assert w.store.version == version


def test_a_pod_out_of_memory_is_told_at_once_and_ends_the_job_when_the_driver_goes_down_with_it() -> None:
    w = begun()
    w.pod(OOM)
    w.settle()
    assert (w.status["phase"], w.status["lastFailure"]["class"]) == ("Training", "OutOfMemory")
    pod = next(key for key in w.store.objects if key.resource.kind == "Pod")
    w.store.delete(pod)  # KubeRay replaces it, and with it what it told
    w.settle()
    w.driver("Failed", lastFailure=failure("WorkerLost", "connection reset", retryable=True, where={"stage": "train"}))
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    assert w.condition("Failed") == ("True", "RunFailed")
    assert w.status["lastFailure"]["class"] == "OutOfMemory", "the first cause, not what broke after it"


def test_a_pod_that_finds_no_node_in_the_middle_of_a_run_is_waited_for_as_long_as_a_start_may_take() -> None:
    w = begun(runtime={"startDeadlineSeconds": 600})
    condition = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available", "lastTransitionTime": "2026-11-22T08:00:00Z",
    }  # fmt: skip
    w.pod({"conditions": [condition]})
    w.settle()
    assert w.status["lastFailure"]["class"] == "Unschedulable"
    assert w.requeue() == 600
    w.tick(600)
    w.settle()
    assert w.condition("Failed") == ("True", "RunFailed")


@pytest.mark.parametrize("written", ['{"schema": 99}', "{torn"])
def test_a_driver_whose_document_cannot_be_read_is_in_the_stage_it_was_in(written: str) -> None:
    w = begun()
    w.driver("Training", progress={"stage": "train", "step": 7})
    w.settle()
    w.write(written)
    w.settle()
    assert (w.status["phase"], w.condition("Progressing")) == ("Training", ("True", "Training"))
    assert "status.json" in w.message("Progressing"), "and it says what is wrong"


@pytest.mark.parametrize("ray", ["", "PENDING"])
def test_a_driver_that_nobody_submits_is_waited_for_as_long_as_a_start_may_take(ray: str) -> None:
    w = world(job(runtime={"startDeadlineSeconds": 600}))
    w.settle()
    w.kuberay("Initializing", startTime="2026-11-22T08:00:00Z")
    w.tick(500)
    cluster = w.child("ray.io/v1", "RayCluster", "small", w.store.objects[w.rayjob()])
    ready = {"type": "RayClusterProvisioned", "status": "True", "lastTransitionTime": "2026-11-22T08:08:20Z"}
    w.store.patch(key_of(cluster), {"status": {"conditions": [ready]}}, subresource="status")
    w.kuberay("Running", ray, startTime="2026-11-22T08:00:00Z")  # and the submitter's pod finds no node
    w.settle()
    assert w.condition("Progressing") == ("True", "Starting")
    assert w.requeue() == 600, "it has as long again as the cluster had"
    w.tick(600)
    w.settle()
    assert w.condition("Failed") == ("True", "RunFailed")
    assert w.status["lastFailure"]["class"] == "Unschedulable"
    assert f"job-name={w.rayjob().name}" in w.status["lastFailure"]["hint"]
    assert w.names(RAY_JOBS) == [], "what it held is free"


def test_a_driver_that_is_at_work_has_no_start_to_wait_for() -> None:
    w = begun(runtime={"startDeadlineSeconds": 600})
    w.tick(6000)
    w.settle()
    assert (w.condition("Progressing"), w.requeue()) == (("True", "Training"), None)


def waiting(reason: str, message: str) -> dict[str, object]:
    """A pod's status while its container cannot begin."""
    return {"containerStatuses": [{"image": "x", "state": {"waiting": {"reason": reason, "message": message}}}]}


def test_an_image_that_is_tried_again_and_again_is_told_once() -> None:
    w = begun()
    w.pod(waiting("ErrImagePull", "rpc error: not found"))
    w.settle()
    version = w.parent["metadata"]["resourceVersion"]
    for _ in range(3):
        for reason, message in (
            ("ImagePullBackOff", 'Back-off pulling image "x"'),
            ("ErrImagePull", "rpc error: not found"),
        ):
            w.pod(waiting(reason, message))
            assert w.step() == []
    assert w.parent["metadata"]["resourceVersion"] == version
    w.pod(waiting("ErrImagePull", "unauthorized"))
    w.settle()
    words = "the image x cannot be pulled: unauthorized"
    assert w.status["lastFailure"]["message"] == words
    assert w.message("Progressing").endswith(words), "what it waits for"


def test_a_wait_that_is_over_is_not_shown_any_more() -> None:
    w = begun()
    waiting = {"containerStatuses": [{"image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    w.pod(waiting)
    w.settle()
    assert w.status["lastFailure"]["class"] == "ImagePull"
    w.pod({"containerStatuses": [{"image": "x", "state": {"running": {}}}]})
    w.settle()
    assert "lastFailure" not in w.status


def test_a_stale_view_of_the_parent_creates_nothing() -> None:
    w = world()
    stale = w.observation()
    w.settle()
    with pytest.raises(ConflictError):
        w.carry_out(stale)


def test_a_finished_job_is_not_run_again_by_who_has_not_seen_its_end() -> None:
    w = world()
    w.settle()
    early = w.observation().parent  # its status is as a start would write it: nothing of it would change
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    with pytest.raises(ConflictError):
        w.carry_out(replace(w.observation(), parent=early))
    assert w.names(RAY_JOBS) == []


def test_a_stale_view_of_the_children_makes_no_second_rayjob() -> None:
    w = world()
    w.settle()
    w.run()
    seen = w.observation()
    blind = {key: item for key, item in seen.objects.items() if key.resource != RAY_JOBS}
    with pytest.raises(AlreadyExistsError):
        w.carry_out(replace(seen, objects=blind))
    assert w.names(RAY_JOBS) == [w.rayjob().name]


def test_a_failure_is_told_although_the_operator_died_before_it_told_and_came_back_late() -> None:
    w = world(job())
    w.settle()
    w.run()
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    seen = w.observation()
    w.do(seen, plan(seen, SETTINGS)[:1])  # the account of the attempt, and no more
    w.tick(600)
    w.settle()
    assert w.status["attempts"] == 2
    assert {("Warning", "WorkerLost"), ("Normal", "Retrying"), ("Normal", "AttemptStarted")} <= {*w.events()}
