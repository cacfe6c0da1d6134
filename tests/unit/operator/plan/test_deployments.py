"""A ModelDeployment's life on the twin, beside KubeRay's stand-in: what its status says and what stands."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from modelyard.spec import EvaluationJob
from modelyard_operator.kinds.actions import Create, Delete, Patch
from modelyard_operator.kinds.names import index_name
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVALUATION_JOBS,
    EVENTS,
    MODEL_DEPLOYMENTS,
    NETWORK_POLICIES,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    RAY_CLUSTERS,
    RAY_SERVICES,
    ObjectKey,
    Resource,
)
from modelyard_operator.kinds.observations import Probe
from modelyard_operator.kinds.settings import Settings
from modelyard_operator.plan.deployments.facts import fault_of
from modelyard_operator.plan.manifests import job_of
from support.deployment_worlds import NAMESPACE, PLACE, World, deployment, digest
from support.kuberay import Script
from support.kuberay.scripts import COMES_UP, DEPLOY_FAILS, NEVER_HEALTHY, SICKENS

EVALUATION = {
    "suites": [{"name": "heldout", "task": "perplexity", "sources": [{"name": "heldout", "path": "corpus/"}]}],
    "gates": [{"metric": "heldout/bits_per_byte", "atMost": 2.5}],
}


NOT_WORSE = {"metric": "heldout/bits_per_byte", "notWorseThanBaseline": {"margin": 0.01}}


def comparing(*more: dict[str, Any]) -> dict[str, Any]:
    return deployment(rollout={"deadlineSeconds": 60, "evaluation": {**EVALUATION, "gates": [*more, NOT_WORSE]}})


def gated(**spec: Any) -> dict[str, Any]:
    return deployment(rollout={"deadlineSeconds": 60, "evaluation": EVALUATION}, **spec)


def up(**world: Any) -> World:
    """A deployment that serves its first version."""
    made = World(**world)
    made.seconds(8)
    assert made.said == ("Ready", "RolledOut"), made.status
    return made


def test_from_created_to_answering() -> None:
    world = World()
    assert world.settle() == 1
    assert (world.said, world.condition("Available")) == (("Deploying", "RollingOut"), ("False", "NotAnswering"))
    world.seconds(8)
    assert (world.said, world.condition("Available")) == (("Ready", "RolledOut"), ("True", "Answering"))
    assert world.condition("Accepted") == ("True", "ManifestAccepted")
    assert world.status["model"] == {"name": "small", "version": 1, "digest": digest(1)}
    assert world.status["url"] == f"http://{world.base}.team.svc.cluster.local:8000"
    assert (world.status["replicas"], world.status["readyReplicas"]) == (1, 1)
    assert [reason for reason, _ in world.told()] == ["ManifestAccepted", "RollingOut", "Answering", "RolledOut"]
    assert world.names(NETWORK_POLICIES) == [world.base]
    assert world.names(POD_DISRUPTION_BUDGETS) == [], "one replica cannot be spared"


def test_nothing_is_written_when_nothing_changes() -> None:
    world = up()
    world.later(100)  # KubeRay clears up
    version = world.store.version
    for _ in range(4):
        world.later(30)
    assert world.store.version == version


def test_volumes_in_the_place_of_ours_are_refused() -> None:
    world = World(deployment(runtime={"volumes": [{"name": "modelyard-scratch", "mountPath": "/x", "emptyDir": {}}]}))
    world.settle()
    assert world.condition("Accepted") == ("False", "InvalidManifest")
    assert "spec.runtime.volumes[0].name" in world.message("Accepted")
    assert world.names(RAY_SERVICES) == []


@pytest.mark.parametrize(
    "labels",
    [
        {"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/instance": "kuberay-operator"},
        {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"},
    ],
    ids=["by its chart", "by its kustomization"],
)
def test_kuberay_may_ask_the_dashboard_however_it_was_installed(labels: dict[str, str]) -> None:
    world = up()
    policy = world.get(NETWORK_POLICIES, world.base)
    (rule,) = [one for one in policy["spec"]["ingress"] if one.get("ports", [{}])[0].get("port") == 8265]
    wanted = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert any(one.items() <= labels.items() for one in wanted)


@pytest.mark.parametrize("resource", [NETWORK_POLICIES, POD_DISRUPTION_BUDGETS], ids=str)
def test_a_guard_that_somebody_edited_is_put_right(resource: Resource) -> None:
    world = up(parent=deployment(replicas=3))
    key = ObjectKey(resource, NAMESPACE, world.base)
    before = world.store.objects[key]["spec"]
    world.store.patch(key, {"spec": {"ingress": []} if resource == NETWORK_POLICIES else {"minAvailable": 0}})
    world.settle()
    assert world.store.objects[key]["spec"] == before
    world.store.patch(key, {"spec": {"unhealthyPodEvictionPolicy": None}})  # as a server before 1.27 does
    version = world.store.objects[key]["metadata"]["resourceVersion"]
    world.settle()
    assert world.store.objects[key]["metadata"]["resourceVersion"] == version


def test_what_happens_again_is_told_again() -> None:
    world = up()
    for _ in range(2):
        world.spec(replicas=0)
        world.seconds(5)
        world.spec(replicas=1)
        world.seconds(20)
        assert world.condition("Available") == ("True", "Answering")
    reasons = [world.get(EVENTS, name)["reason"] for name in world.names(EVENTS)]
    assert reasons.count("Answering") == 3


def test_the_evaluation_of_a_gate_does_not_go_away_by_itself() -> None:
    """A verdict that went would be asked for again, for ever."""
    world = World(gated(runtime={"ttlSecondsAfterFinished": 60, "head": {"cpu": "2"}}))
    world.settle()
    (name,) = world.names(EVALUATION_JOBS)
    assert world.get(EVALUATION_JOBS, name)["spec"]["runtime"] == {"head": {"cpu": "2"}}


def test_endpoints_alone_are_not_answers() -> None:
    """KubeRay says Ready, as live proxies are all it asks for; requests are answered with 503."""
    world = World(script=Script(service=NEVER_HEALTHY))
    world.seconds(10)
    assert {"type": "Ready", "status": "True"}.items() <= world.service["status"]["conditions"][0].items()
    assert (world.said, world.condition("Available")) == (("Deploying", "RollingOut"), ("False", "NotAnswering"))
    world.later(60)
    assert world.said == ("Failed", "RolloutFailed")
    assert "does not answer after 60 s" in world.message("Progressing")


def test_a_moved_alias_rolls_out_and_requests_are_answered_all_the_way() -> None:
    world = up()
    world.index(2, stable=2)
    for _ in range(10):
        world.seconds(1)
        assert world.condition("Available") == ("True", "Answering")
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 2)
    assert world.service["metadata"]["annotations"]["modelyard.dev/version"] == "small@2"


def test_an_alias_that_names_the_same_version_starts_nothing() -> None:
    world = up()
    before = world.service["spec"]
    world.index(1, stable=1, blessed=1)
    world.spec(model="registry://small@blessed")
    world.seconds(5)
    assert world.service["spec"] == before
    assert "registry://small@blessed is small@1" in world.message("Accepted")


@pytest.mark.parametrize(
    ("script", "why"),
    [(DEPLOY_FAILS, "the replica cannot start"), (NEVER_HEALTHY, "it does not answer after 60 s")],
    ids=["Serve gives up", "never healthy"],
)
def test_a_version_that_does_not_come_up_is_rolled_back_and_not_tried_again(script: Any, why: str) -> None:
    world = up(script=Script(services={"small@2": script}))
    good = world.service["spec"]
    world.index(2, stable=2)
    world.seconds(5)
    world.later(60)
    assert world.said == ("Degraded", "RolledBack")
    assert why in world.message("Progressing")
    assert world.status["lastFailure"]["message"] == world.message("Progressing")
    assert world.service["spec"] == good, "byte for byte"
    world.seconds(8)
    assert (world.serves, world.condition("Available")) == (1, ("True", "Answering"))
    world.later(100)  # KubeRay clears up
    version = world.store.version
    world.later(1000)
    assert world.store.version == version, "not tried again"


TRACEBACK = """Deploying app 'modelyard' failed with exception:
Traceback (most recent call last):
  File "/app/modelyard/serve/cluster.py", line 66, in read_arguments
    raise InvalidInputError(words)
modelyard.errors.InvalidInputError: the pods of this cluster serve small@1
"""
CHAINED = """The deployment failed to start 3 times in a row. See controller logs for details. Error:
ray.exceptions.RayTaskError(IntegrityError): ray::ServeReplica.initialize() (pid=7)
OSError: [Errno 5] Input/output error

During handling of the above exception, another exception occurred:

modelyard.errors.StorageError: cannot read model.safetensors
RuntimeError: cannot read model.safetensors
"""


@pytest.mark.parametrize(
    ("application", "words"),
    [
        ({}, "Serve could not deploy it"),
        ({"message": "  \n "}, "Serve could not deploy it"),
        ({"message": "no such\n import path"}, "import path"),
        ({"message": TRACEBACK}, "the pods of this cluster serve small@1"),
        (
            {"message": "Failed to update the deployments ['replica'].",
             "serveDeploymentStatuses": {"replica": {"status": "DEPLOY_FAILED", "message": CHAINED}}},
            "cannot read model.safetensors",
        ),
        ({"message": "x" * 9000}, "x" * 1021 + "…"),
    ],
)  # fmt: skip
def test_why_serve_gave_up_is_one_line(application: dict[str, Any], words: str) -> None:
    assert fault_of(application) == words


def test_after_a_roll_back_another_version_is_tried_and_the_given_up_one_once_it_is_wished_anew() -> None:
    world = up(script=Script(services={"small@2": DEPLOY_FAILS}))
    world.index(2, stable=2)
    world.seconds(10)
    assert world.said == ("Degraded", "RolledBack")
    world.index(2, stable=1)  # back to what serves: settled, the failure forgotten
    world.seconds(2)
    assert world.said == ("Ready", "RolledOut")
    assert "lastFailure" not in world.status
    world.kuberay.ray.script.services = {}  # mended
    world.index(2, stable=2)
    world.seconds(15)
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 2)


def test_a_new_wish_after_a_roll_back_rolls_out() -> None:
    world = up(script=Script(services={"small@2": DEPLOY_FAILS}))
    world.index(2, stable=2)
    world.seconds(10)
    world.index(3, stable=3)
    world.seconds(15)
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 3)
    assert "modelyard.dev/rolled-back-from" not in world.service["metadata"]["annotations"]


def test_the_first_version_that_does_not_come_up_fails_and_heals() -> None:
    world = World(script=Script(service=DEPLOY_FAILS))
    world.seconds(10)
    assert world.said == ("Failed", "RolloutFailed")
    assert world.status["lastFailure"]["class"] == "Internal"
    world.kuberay.ray.script.service = COMES_UP
    world.spec(engine={"maxSequences": 4})
    world.seconds(15)
    assert world.said == ("Ready", "RolledOut")


def test_an_endpoint_that_sickens_later_is_said_to_and_not_rolled_back() -> None:
    world = World(script=Script(service=SICKENS))
    world.seconds(10)
    assert world.said == ("Ready", "RolledOut")
    world.later(40)
    for _ in range(2):
        assert (world.said, world.condition("Available")) == (("Ready", "RolledOut"), ("True", "Answering"))
        assert world.requeue() == 5, "in doubt it is asked again soon"
        world.later(5)
    assert (world.said, world.condition("Available")) == (("Degraded", "NotAnswering"), ("False", "NotAnswering"))
    assert "HTTP 503" in world.message("Available")
    assert world.serves == 1, "the version that answered last"
    assert world.requeue() == 10


def test_a_request_that_fails_once_is_not_even_written_down() -> None:
    world = up()
    ask, version = world.kuberay.ask, world.store.version

    async def refused(url: str) -> Probe:
        return Probe(url, healthy=False, message="connection reset")

    for _ in range(5):
        for answer in (refused, refused, ask):
            world.kuberay.ask = answer  # type: ignore[method-assign]
            for _ in range(4):  # looks come in bursts: one moment is one failure
                assert world.step() == []
            world.now += timedelta(seconds=5)
    assert world.store.version == version


def test_one_that_goes_down_and_answers_again_says_so() -> None:
    world = up()
    ask = world.kuberay.ask

    async def refused(url: str) -> Probe:
        return Probe(url, healthy=False, message="connection reset")

    world.kuberay.ask = refused  # type: ignore[method-assign]
    for _ in range(3):
        world.later(5)
    assert world.said == ("Degraded", "NotAnswering")
    world.kuberay.ask = ask  # type: ignore[method-assign]
    world.later(40)
    assert world.said == ("Ready", "RolledOut")
    assert [reason for reason, _ in world.told()][-3:] == ["NotAnswering", "Answering", "RolledOut"]


def test_one_that_is_down_is_not_said_to_serve_on() -> None:
    world = up()

    async def refused(url: str) -> Probe:
        return Probe(url, healthy=False, message="connection reset")

    world.kuberay.ask = refused  # type: ignore[method-assign]
    world.spec(model="registry://small@nobody")
    for _ in range(3):
        world.later(5)
    assert world.said == ("Degraded", "ModelNotFound")
    assert "serves on" not in world.message("Progressing")


def test_a_new_version_is_not_up_because_the_one_before_answered() -> None:
    world = up(script=Script(services={"small@2": NEVER_HEALTHY}))
    world.index(2, stable=2)
    doubts = 0
    for _ in range(30):
        world.seconds(1)
        assert world.said == ("Deploying", "RollingOut")
        assert world.serves == 1
        probe = next(iter(world.observation().probes.values()))
        doubts += not probe.healthy and world.condition("Available") == ("True", "Answering")
    assert 0 < doubts < 10, "the endpoint is given three failures, whoever is behind it"
    assert '"small@1"' in world.get(CONFIG_MAPS, world.base)["data"]["last-good.json"]
    world.later(60)
    assert world.said[1] == "RolledBack"


def test_a_refusal_of_a_spec_that_is_about_to_change_is_not_told() -> None:
    world = World()
    world.settle()
    refusal = {"type": "Ready", "status": "False", "reason": "ValidationFailed", "observedGeneration": 1}
    world.change(world.service_key, {"status": {"conditions": [refusal]}}, "status")
    world.spec(replicas=2)
    assert world.settle() == 1
    assert world.said == ("Deploying", "RollingOut")


def test_a_first_version_is_never_available_by_patience() -> None:
    world = World(script=Script(service=NEVER_HEALTHY))
    for _ in range(30):
        world.seconds(1)
        assert world.condition("Available") == ("False", "NotAnswering")


def test_pods_that_cannot_start_are_told_while_it_waits_and_when_it_gives_up() -> None:
    world = World()
    world.seconds(1)
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    status = {
        "phase": "Pending",
        "containerStatuses": [{"name": "ray-worker", "image": "nowhere:1", "state": {"waiting": waiting}}],
    }
    world.kuberay.ray.pod_status = lambda *_: status  # type: ignore[method-assign]
    world.seconds(3)
    assert "the image nowhere:1 cannot be pulled: not found" in world.message("Progressing")
    assert world.status["lastFailure"]["class"] == "ImagePull"
    world.later(70)
    assert world.said == ("Failed", "RolloutFailed")
    assert "does not answer after 60 s (the image nowhere:1 cannot be pulled: not found)" in world.message(
        "Progressing"
    )


def test_an_image_that_is_tried_again_and_again_is_told_once() -> None:
    world = World()
    told = {"reason": "ErrImagePull", "message": "not found"}
    backs_off = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nowhere:1"'}
    now = [told]

    def status(*_: object) -> dict[str, Any]:
        container = {"name": "ray-worker", "image": "nowhere:1", "state": {"waiting": now[0]}}
        return {"phase": "Pending", "containerStatuses": [container]}

    world.kuberay.ray.pod_status = status  # type: ignore[method-assign]
    world.seconds(4)
    events = world.told()
    for now[0] in (backs_off, told, backs_off):
        world.seconds(2)
        assert "cannot be pulled: not found" in world.message("Progressing")
    assert world.told() == events


def test_scaling_up_reaches_the_living_cluster_beyond_its_head_room_without_a_rollout() -> None:
    world = up()
    (cluster,) = world.names(RAY_CLUSTERS)
    world.spec(replicas=3)
    world.seconds(5)
    assert (world.status["replicas"], world.status["readyReplicas"]) == (3, 3)
    world.spec(replicas=20)
    world.seconds(5)
    assert (world.status["replicas"], world.said) == (20, ("Ready", "RolledOut"))
    assert world.names(RAY_CLUSTERS) == [cluster], "no new cluster"
    assert world.names(POD_DISRUPTION_BUDGETS) == [world.base]
    world.spec(replicas=1)
    world.seconds(5)
    assert (world.status["replicas"], world.names(POD_DISRUPTION_BUDGETS)) == (1, [])


def test_no_replicas_sleep_and_wake() -> None:
    world = up()
    world.spec(replicas=0)
    world.seconds(10)
    assert (world.said, world.condition("Available")) == (("Pending", "ScaledToZero"), ("False", "ScaledToZero"))
    assert world.names(RAY_CLUSTERS) == []
    world.later(600)  # no deadline runs in a sleep
    assert world.condition("Progressing") == ("False", "ScaledToZero")
    world.spec(replicas=2)
    world.seconds(12)
    assert (world.said, world.status["readyReplicas"]) == (("Ready", "RolledOut"), 2)
    assert "NotAnswering" not in [reason for reason, _ in world.told()], "who wakes has lost nothing"


@pytest.mark.parametrize(
    ("mode", "runtime"),
    [("ReadOnlyMany", {}), ("ReadWriteOnce", {"nodeSelector": {"kubernetes.io/hostname": "a"}})],
)
def test_a_claim_that_its_pods_can_mount_is_taken(mode: str, runtime: dict[str, Any]) -> None:
    world = World(deployment(runtime=runtime))
    world.change(ObjectKey(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, "yard"), {"spec": {"accessModes": [mode]}})
    world.seconds(8)
    assert world.said == ("Ready", "RolledOut")


def test_a_version_wished_while_it_sleeps_has_its_whole_deadline_after_waking() -> None:
    world = World(deployment(replicas=0))
    world.later(500)
    assert world.said == ("Pending", "ScaledToZero")
    world.spec(replicas=1)
    world.seconds(12)
    assert world.said == ("Ready", "RolledOut")


def test_a_deployment_that_may_sleep_is_asked_until_it_has_proved_itself_and_never_woken_later() -> None:
    world = World(deployment(replicas=None, autoscaling={"minReplicas": 0, "maxReplicas": 3}))
    asked: list[str] = []
    ask = world.kuberay.ask

    async def counting(url: str) -> Any:
        asked.append(url)
        return await ask(url)

    world.kuberay.ask = counting  # type: ignore[method-assign]
    world.seconds(10)
    assert world.said == ("Ready", "RolledOut")
    assert asked
    asked.clear()
    world.later(60)
    assert not asked
    assert world.condition("Available") == ("True", "Answering")


@pytest.mark.parametrize(("verdict", "opens"), [("Passed", True), ("Failed", False), ("Inconclusive", False)])
def test_a_version_takes_no_traffic_before_its_evaluation_has_passed(verdict: str, opens: bool) -> None:
    world = World(gated())
    world.seconds(5)
    assert world.said == ("Pending", "Evaluating")
    assert world.names(RAY_SERVICES) == []
    job = world.store.get(world.gate)
    assert job["spec"]["target"] == {"model": "registry://small@1"}
    assert job["spec"]["storage"] == {"claimName": "yard"}
    conclude(world, verdict)
    world.seconds(10)
    if opens:
        assert (world.said, world.serves) == (("Ready", "RolledOut"), 1)
    else:
        assert (world.said, world.names(RAY_SERVICES)) == (("Failed", "GateFailed"), [])
        assert f"says {verdict}: heldout/bits_per_byte 3.1" in world.message("Progressing")
        assert world.status["lastFailure"]["class"] == "GateFailed"


def conclude(world: World, verdict: str) -> None:
    passed = {"Passed": "True", "Failed": "False"}.get(verdict, "Unknown")
    said = [("Complete", "True", "done"), ("Passed", passed, "heldout/bits_per_byte 3.1, at most 2.5")]
    then = {"reason": "VerdictReached", "lastTransitionTime": "2026-11-22T08:00:00Z"}
    conditions = [{"type": kind, "status": status, "message": words, **then} for kind, status, words in said]
    world.change(world.gate, {"status": {"verdict": verdict, "conditions": conditions}}, "status")


def test_the_version_before_serves_while_the_next_is_evaluated_and_when_it_fails() -> None:
    world = World(gated())
    world.seconds(1)
    conclude(world, "Passed")
    world.seconds(10)
    spec = world.service["spec"]
    world.index(2, stable=2)
    world.seconds(5)
    assert (world.said, world.serves) == (("Deploying", "Evaluating"), 1)
    assert world.service["spec"] == spec
    conclude(world, "Failed")
    world.seconds(5)
    assert (world.said, world.serves, world.condition("Available")[0]) == (("Degraded", "GateFailed"), 1, "True")
    world.store.delete(world.gate)  # deleting the evaluation asks for it again
    world.seconds(1)
    assert world.said == ("Deploying", "Evaluating")
    conclude(world, "Passed")
    world.seconds(10)
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 2)


def test_an_evaluation_that_could_not_be_made_says_how_it_is_made_again() -> None:
    world = World(gated())
    world.seconds(1)
    failed = {
        "type": "Failed", "status": "True", "reason": "RunFailed", "message": "a pod was lost",
        "lastTransitionTime": "2026-11-22T08:00:00Z",
    }  # fmt: skip
    world.change(world.gate, {"status": {"conditions": [failed]}}, "status")
    world.seconds(3)
    assert world.said == ("Failed", "GateFailed")
    assert "a pod was lost; delete that EvaluationJob to have it run anew" in world.message("Progressing")


def test_the_evaluation_of_a_version_that_is_not_wished_any_more_is_deleted() -> None:
    world = World(gated())
    world.seconds(1)
    first = world.gate
    world.index(2, stable=2)
    world.seconds(1)
    assert world.gate != first
    assert world.store.get(world.gate)["spec"]["target"] == {"model": "registry://small@2"}


def test_another_engine_for_the_same_version_needs_no_new_evaluation() -> None:
    world = World(gated())
    world.seconds(1)
    conclude(world, "Passed")
    world.seconds(10)
    world.spec(engine={"maxSequences": 4})
    world.seconds(1)
    assert world.said == ("Deploying", "RollingOut")


def test_a_version_is_compared_with_the_one_that_serves() -> None:
    world = World(comparing(*EVALUATION["gates"]))
    world.seconds(1)
    first = world.store.get(world.gate)["spec"]
    assert "baseline" not in first, "nothing serves yet"
    assert first["gates"] == EVALUATION["gates"]
    conclude(world, "Passed")
    world.seconds(10)
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 1)
    world.store.delete(world.gate)
    world.index(2, stable=2)
    world.seconds(3)
    asked = world.store.get(world.gate)["spec"]
    assert asked["baseline"] == {"model": "registry://small@1", "whenMissing": "pass"}
    assert asked["gates"] == [*EVALUATION["gates"], NOT_WORSE]
    assert isinstance(job_of(world.store.get(world.gate)), EvaluationJob), "what is made can be taken"
    conclude(world, "Failed")
    world.seconds(5)
    assert (world.said, world.serves) == (("Degraded", "GateFailed"), 1)
    world.index(3, stable=3)
    world.seconds(3)
    assert world.store.get(world.gate)["spec"]["baseline"]["model"] == "registry://small@1"


def test_the_first_version_has_nothing_to_be_compared_with() -> None:
    world = World(comparing())
    world.seconds(10)
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 1)
    assert world.names(EVALUATION_JOBS) == []
    world.index(2, stable=2)
    world.seconds(3)
    assert world.said == ("Deploying", "Evaluating")
    conclude(world, "Passed")
    world.seconds(15)
    assert (world.said, world.serves) == (("Ready", "RolledOut"), 2)


def missing_alias(world: World) -> None:
    world.index(1)


def missing_index(world: World) -> None:
    world.store.delete(ObjectKey(CONFIG_MAPS, NAMESPACE, index_name("small")))


def torn_index(world: World) -> None:
    world.change(ObjectKey(CONFIG_MAPS, NAMESPACE, index_name("small")), {"data": {"index.json": '{"schema": 1, "ver'}})


def newer_index(world: World) -> None:
    world.change(ObjectKey(CONFIG_MAPS, NAMESPACE, index_name("small")), {"data": {"index.json": '{"schema": 2}'}})


def missing_claim(world: World) -> None:
    world.store.delete(ObjectKey(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, "yard"))


def narrow_claim(world: World) -> None:
    place = ObjectKey(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, "yard")
    world.change(place, {"spec": {"accessModes": ["ReadWriteOncePod"]}})


def one_nodes_claim(world: World) -> None:
    place = ObjectKey(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, "yard")
    world.change(place, {"spec": {"accessModes": ["ReadWriteOnce"]}})


def lost_claim(world: World) -> None:
    place = ObjectKey(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, "yard")
    world.change(place, {"status": {"phase": "Lost"}}, "status")


TROUBLES = [
    (missing_alias, "ModelNotFound", "has no alias stable; it has none yet"),
    (missing_index, "ModelNotFound", "no ConfigMap modelyard-model-small"),
    (torn_index, "ModelNotFound", "is damaged"),
    (newer_index, "ModelNotFound", "of schema 2; this operator knows up to 1"),
    (missing_claim, "StorageNotReady", "there is no PersistentVolumeClaim yard"),
    (narrow_claim, "StorageNotReady", "has ReadWriteOncePod: the pods are several"),
    (one_nodes_claim, "StorageNotReady", "must be ReadWriteMany or ReadOnlyMany (ReadWriteOnce does when"),
    (lost_claim, "StorageNotReady", "has lost its volume"),
]


@pytest.mark.parametrize(("trouble", "reason", "words"), TROUBLES, ids=[row[0].__name__ for row in TROUBLES])
def test_what_cannot_be_met_is_said_before_and_after_it_serves_and_heals(trouble: Any, reason: str, words: str) -> None:
    world = World()
    standing = {
        place: world.store.get(place) for place in list(world.store.objects) if place.resource != MODEL_DEPLOYMENTS
    }
    trouble(world)
    world.seconds(3)
    assert (world.condition("Accepted"), world.names(RAY_SERVICES)) == (("False", reason), [])
    assert words in world.message("Accepted")
    assert world.said == ("Pending", reason)
    mend(world, standing)
    world.seconds(8)
    assert world.said == ("Ready", "RolledOut")
    trouble(world)
    world.seconds(3)
    assert (world.condition("Accepted"), world.condition("Available")) == (("False", reason), ("True", "Answering"))
    assert (world.said, world.serves) == (("Degraded", reason), 1)
    assert words in world.message("Progressing")
    mend(world, standing)
    world.seconds(3)
    assert world.said == ("Ready", "RolledOut")


def mend(world: World, standing: dict[ObjectKey, Any]) -> None:
    for place, item in standing.items():
        if place in world.store.objects:
            world.change(place, {name: item[name] for name in ("data", "spec") if name in item})
        else:
            world.store.create({**item, "metadata": {"name": place.name, "namespace": place.namespace}})
        if place.resource == PERSISTENT_VOLUME_CLAIMS:
            world.change(place, {"status": {"phase": "Bound"}}, "status")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"replicas": 1, "autoscaling": {"maxReplicas": 2}}, "spec.autoscaling: is set beside replicas"),
        ({"rollout": {"strategy": "canary"}}, "spec.rollout.strategy: canary is not built yet"),
        ({"model": "./folder"}, "./folder is a folder: on a cluster a version of the registry is served"),
        ({"storage": None}, "spec.storage: is missing"),
        ({"replicas": 0, "runtime": {"queue": "gpus"}}, "Kueue alone puts it to sleep"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_is_refused_in_words(spec: dict[str, Any], words: str) -> None:
    world = World(deployment(**spec))
    world.seconds(2)
    assert world.condition("Accepted")[0] == "False"
    assert words in world.message("Accepted")
    assert world.names(RAY_SERVICES) == []


@pytest.mark.parametrize("resource", [RAY_SERVICES, CONFIG_MAPS, NETWORK_POLICIES], ids=str)
def test_what_somebody_else_put_in_our_place_is_left_alone(resource: Any) -> None:
    world = World()
    service = {"spec": {"serveConfigV2": "", "rayClusterConfig": {"headGroupSpec": {}}}}
    content = service if resource == RAY_SERVICES else {}
    item = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": world.base, "namespace": NAMESPACE},
    }
    world.store.create({**item, **content})
    foreign = world.get(resource, world.base)
    world.settle()
    assert world.condition("Accepted") == ("False", "NameTaken")
    assert f"{resource.kind} {world.base}" in world.message("Accepted")
    assert world.get(resource, world.base) == foreign
    world.store.delete(ObjectKey(resource, NAMESPACE, world.base))
    world.seconds(8)
    assert world.said == ("Ready", "RolledOut")


def test_an_operator_that_renders_otherwise_rolls_nothing_out() -> None:
    world = up()
    spec, version = world.service["spec"], world.store.version
    world.settings = Settings(platform_image="ghcr.io/modelyard/platform:9", ray_version="9.9.9")
    world.seconds(5)
    assert (world.service["spec"], world.store.version) == (spec, version)
    world.change(PLACE, {"metadata": {"annotations": {"modelyard.dev/restarted-at": "today"}}})
    world.seconds(10)
    assert world.service["spec"]["rayClusterConfig"]["rayVersion"] == "9.9.9"
    assert world.said == ("Ready", "RolledOut")


def test_a_rayservice_that_timed_out_for_good_is_made_anew() -> None:
    world = World()
    world.seconds(1)
    uid = world.service["metadata"]["uid"]
    world.change(world.service_key, {"metadata": {"annotations": {"ray.io/initializing-timeout": "1s"}}})
    world.seconds(3)
    world.seconds(12)
    assert world.service["metadata"]["uid"] != uid
    assert world.said == ("Ready", "RolledOut")


def test_a_rayservice_that_somebody_deleted_comes_back_as_it_was() -> None:
    world = up()
    spec = world.service["spec"]
    world.store.delete(world.service_key)
    world.seconds(15)
    assert (world.service["spec"], world.said) == (spec, ("Ready", "RolledOut"))


def test_a_record_of_the_last_good_version_that_was_edited_by_hand_is_written_anew() -> None:
    world = up()
    place = ObjectKey(CONFIG_MAPS, NAMESPACE, world.base)
    standing = json.loads(world.store.get(place)["data"]["last-good.json"])
    assert (standing["version"], standing["modelDigest"]) == ("small@1", digest(1))
    world.change(place, {"data": {"last-good.json": "{"}})
    world.seconds(1)
    assert json.loads(world.store.get(place)["data"]["last-good.json"]) == standing


def test_a_deployment_that_is_being_deleted_is_left_to_its_owner_references() -> None:
    world = up()
    world.change(PLACE, {"metadata": {"finalizers": ["someone/else"]}})
    world.store.delete(PLACE)
    assert world.plan() == []


def test_every_object_is_owned_and_every_write_names_the_object_that_was_seen() -> None:
    world = World(gated(replicas=3))
    created: list[Any] = []
    for _ in range(4):
        created += [action.item for action in world.step() if isinstance(action, Create)]
        if world.names(EVALUATION_JOBS):
            conclude(world, "Passed")
    owner = world.store.get(PLACE)["metadata"]["uid"]
    assert {item["kind"] for item in created} == {"NetworkPolicy", "PodDisruptionBudget", "EvaluationJob", "RayService"}
    for item in created:
        assert item["metadata"]["ownerReferences"][0]["uid"] == owner
    world.index(2, stable=2)
    for action in world.plan():
        assert not isinstance(action, Patch | Delete) or action.uid


def test_a_cluster_without_kuberay_is_told() -> None:
    from dataclasses import replace

    from modelyard_operator.plan import plan

    world = World()
    seen = world.observation()
    without = replace(seen, served=seen.served - {RAY_SERVICES})
    (patch,) = [action for action in plan(without, world.settings) if isinstance(action, Patch)]
    assert patch.body["status"]["conditions"][0]["reason"] == "KubeRayMissing"
