"""What is refused says why, at once and in words, and heals when it is put right."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from modelyard_operator.kinds.objects import CONFIG_MAPS, RAY_JOBS, RESOURCES, ROLES, ObjectKey
from support.job_worlds import NAMESPACE, World, claim, claim_key, evaluation, job, world
from support.manifests import TRAINING, edited, faults_of


def index(model: str, *versions: int, **aliases: int) -> dict[str, Any]:
    """A model's index as the driver keeps it."""
    document = {
        "schema": 1,
        "name": model,
        "versions": [{"version": number, "digest": "sha256:" + "0" * 64} for number in versions],
        "aliases": {name: {"version": number, "revision": 1, "history": []} for name, number in aliases.items()},
    }
    return config_map(f"modelyard-model-{model}", {"index.json": json.dumps(document)}, managed=True)


def config_map(name: str, data: dict[str, str] | None = None, managed: bool = False) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "modelyard-operator"} if managed else {}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {}}


def refused(w: World, reason: str) -> str:
    """The job waits, nothing was made; returns why."""
    assert w.settle() <= 1
    assert w.condition("Accepted") == ("False", reason)
    assert (w.status["phase"], w.names(RAY_JOBS), w.names(ROLES)) == ("Pending", [], [])
    assert ("Warning", reason) in w.events()
    return w.message("Accepted")


def taken(w: World) -> None:
    """The job was taken and started."""
    w.settle()
    assert w.condition("Accepted") == ("True", "ManifestAccepted")
    assert w.names(RAY_JOBS) == [w.rayjob().name]


def test_a_manifest_with_faults_gets_the_words_of_validate_and_heals() -> None:
    spec = job()["spec"]
    bad = {**spec, "optimization": {**spec["optimization"], "steps": 5}}  # fewer than the schedule's warm-up
    w = world(job(optimization=bad["optimization"], model={**spec["model"], "config": {"hiden_size": 64}}))
    message = refused(w, "InvalidManifest")
    text = edited(TRAINING, "steps: 100", "steps: 5").text
    text = text[: text.index("    config:")] + "    config: {hiden_size: 64}\n" + text[text.index("    tokenizer:") :]
    words = [f"{fault.path}: {fault.message}" + (f" ({fault.fix})" if fault.fix else "") for fault in faults_of(text)]
    assert len(words) > 1, "all faults are told at once"
    assert sorted(message.splitlines()) == sorted(words)
    w.edit(optimization=spec["optimization"])
    w.store.patch(w.parent_key, {"spec": {"model": {"config": {"hiden_size": None, **spec["model"]["config"]}}}})
    taken(w)


def test_a_fault_is_told_once() -> None:
    w = world(job(optimization={"steps": 0}))
    refused(w, "InvalidManifest")
    w.tick(600)
    assert w.step() == []


@pytest.mark.parametrize("spec", [None, [], "x", {}, {"objective": 5}, {"model": None}], ids=repr)
def test_no_spec_at_all_is_refused_too(spec: Any) -> None:
    w = world({**job(), "spec": spec})
    w.settle()
    assert w.condition("Accepted") == ("False", "InvalidManifest")


def test_a_missing_claim_heals_when_it_comes() -> None:
    w = world(with_claim=False)
    assert "PersistentVolumeClaim yard does not exist" in refused(w, "StorageNotReady")
    w.store.create(claim())
    taken(w)


def test_storage_is_needed_on_a_cluster() -> None:
    value = job()
    del value["spec"]["storage"]
    assert "spec.storage: is missing" in refused(world(value), "InvalidManifest")


@pytest.mark.parametrize("modes", [("ReadWriteOnce",), ("ReadOnlyMany",), ("ReadWriteOncePod",)], ids=" ".join)
def test_a_claim_that_several_pods_cannot_mount_is_refused(modes: tuple[str, ...]) -> None:
    w = world(None, claim("yard", *modes), with_claim=False)
    assert "must be ReadWriteMany" in refused(w, "StorageNotReady")


def test_a_claim_for_one_node_does_when_all_pods_are_on_it() -> None:
    runtime = {"nodeSelector": {"kubernetes.io/hostname": "kind-worker"}}
    taken(world(job(runtime=runtime), claim("yard", "ReadWriteOnce"), with_claim=False))


def test_a_claim_that_lost_its_volume_or_is_on_its_way_out_is_refused() -> None:
    w = world()
    w.store.patch(claim_key(), {"status": {"phase": "Lost"}}, subresource="status")
    assert "lost its volume" in refused(w, "StorageNotReady")
    w.store.patch(claim_key(), {"status": {"phase": "Bound"}}, subresource="status")
    w.store.patch(claim_key(), {"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}})
    w.store.delete(claim_key())
    w.settle()
    assert "is being deleted" in w.message("Accepted")


@pytest.mark.parametrize("when", ["pass", "fail"])
def test_a_baseline_that_is_not_registered_yet_is_not_waited_for(when: str) -> None:
    """What that means is the gates' to say; the driver may read its index once it is there."""
    gate = {"metric": "heldout/bits_per_byte", "notWorseThanBaseline": {"margin": 0.01}}
    baseline = {"model": "registry://other@stable", "whenMissing": when}
    w = world(evaluation(baseline=baseline, gates=[gate], target={"model": "registry://small@candidate"}))
    assert "registry://small@candidate" in refused(w, "ModelNotFound")
    w.store.create(index("small", 1, candidate=1))
    w.settle()
    assert w.condition("Accepted") == ("True", "ManifestAccepted")
    (name,) = w.names(ROLES)
    read = [rule["resourceNames"] for rule in w.get(ROLES, name)["rules"] if rule["verbs"] == ["get"]]
    assert read == [["modelyard-model-other", "modelyard-model-small"]]


def test_a_model_that_is_not_registered_yet_is_waited_for() -> None:
    w = world(evaluation(target={"model": "registry://small@candidate"}))
    assert "registry://small@candidate" in refused(w, "ModelNotFound")
    w.store.create(index("small", 1))
    assert "no alias candidate" in refused(w, "ModelNotFound")
    w.store.patch(
        ObjectKey(CONFIG_MAPS, NAMESPACE, "modelyard-model-small"), {"data": index("small", 1, candidate=1)["data"]}
    )
    taken(w)
    rules = w.get(ROLES, w.rayjob().name.removesuffix("-1"))["rules"]
    assert [(rule["resourceNames"], rule["verbs"]) for rule in rules] == [
        ([w.record().name], ["get", "patch", "update"]),
        (["modelyard-model-small"], ["get"]),
    ], "an evaluation reads the registry and writes nothing into it"


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ({"serviceAccountName": "robot"}, "the ServiceAccount robot does not exist"),
        ({"volumes": [{"name": "v", "mountPath": "/v", "configMap": {"name": "gone"}}]}, "the ConfigMap gone"),
        (
            {"volumes": [{"name": "v", "mountPath": "/v", "persistentVolumeClaim": {"claimName": "gone"}}]},
            "the PersistentVolumeClaim gone",
        ),
    ],
    ids=["account", "ConfigMap", "claim"],
)
def test_what_the_runtime_names_must_be_there(runtime: dict[str, Any], words: str) -> None:
    assert words in refused(world(job(runtime=runtime)), "ReferenceNotFound")


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({"name": "modelyard-tmp", "mountPath": "/x"}, "spec.runtime.volumes[0].name: is modelyard-tmp"),
        ({"name": "v", "mountPath": "/mnt/modelyard/"}, "spec.runtime.volumes[0].mountPath: is /mnt/modelyard/"),
        ({"name": "v", "mountPath": "/etc/modelyard"}, "spec.runtime.volumes[0].mountPath: is /etc/modelyard"),
    ],
    ids=["name", "storage", "manifest"],
)
def test_volumes_in_the_place_of_ours_are_refused(volume: dict[str, Any], words: str) -> None:
    w = world(job(runtime={"volumes": [{**volume, "emptyDir": {}}]}))
    assert words in refused(w, "InvalidManifest")


def test_without_kuberay_it_says_so_and_heals() -> None:
    w = world(served=[resource for resource in RESOURCES if resource != RAY_JOBS])
    w.settle()
    assert w.condition("Accepted") == ("False", "KubeRayMissing")
    assert w.requeue() == 60
    w.store.served = frozenset(RESOURCES)
    taken(w)


def test_an_image_that_never_comes_ends_the_job_and_is_named() -> None:
    w = world(job(runtime={"image": "registry.example/none:1"}))
    w.settle()
    w.kuberay("Initializing")
    told = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    w.pod({"containerStatuses": [{"name": "ray-worker", "image": "registry.example/none:1", "state": told}]})
    w.settle()
    assert (w.status["phase"], w.status["lastFailure"]["class"]) == ("Pending", "ImagePull")
    w.kuberay("Failed", "", reason="PreRunningDeadlineExceeded")
    w.settle()
    assert w.condition("Failed") == ("True", "RunFailed")
    assert "registry.example/none:1" in w.status["lastFailure"]["message"]
    assert "spec.runtime.image" in w.status["lastFailure"]["hint"]


def test_a_childs_name_that_is_taken_by_somebody_is_refused_and_left_alone() -> None:
    w = world(with_claim=False)
    foreign = w.store.create(config_map(w.rayjob().name.removesuffix("-1"), {"mine": "yes"}))
    w.store.create(claim())
    assert foreign["metadata"]["name"] in refused(w, "NameTaken")
    key = ObjectKey(CONFIG_MAPS, NAMESPACE, foreign["metadata"]["name"])
    assert w.store.get(key) == foreign
    w.store.delete(key)
    taken(w)


def test_a_rayjob_of_somebody_else_in_the_next_attempts_place_stops_it_in_words() -> None:
    w = world()
    w.settle()
    w.run()
    foreign = {"apiVersion": "ray.io/v1", "kind": "RayJob", "spec": {},
               "metadata": {"name": w.rayjob(2).name, "namespace": NAMESPACE}}  # fmt: skip
    w.store.create(foreign)
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    w.tick(10)
    w.settle()
    assert w.condition("Progressing") == ("False", "NameTaken")
    assert w.condition("Accepted")[0] == "True", "an accepted spec stays immutable"
    w.store.delete(w.rayjob(2))
    w.settle()
    assert w.status["attempts"] == 2


def test_a_claim_that_goes_while_the_job_is_suspended_is_missed_at_the_resume() -> None:
    w = world(job(suspend=True))
    w.settle()
    w.store.delete(claim_key())
    w.edit(suspend=False)
    w.settle()
    assert (w.condition("Progressing"), w.status["phase"]) == (("False", "StorageNotReady"), "Pending")
    assert w.condition("Suspended") == ("False", "Resumed")
    w.store.create(claim())
    taken(w)


def test_an_index_that_is_not_the_registrys_is_refused() -> None:
    w = world(None, config_map("modelyard-model-small"))
    assert "modelyard-model-small" in refused(w, "NameTaken")


def test_an_accepted_spec_that_cannot_be_read_any_more_goes_on_from_its_snapshot() -> None:
    w = world()
    w.settle()
    w.run()
    w.edit(objective="poetry")  # as a newer operator with stricter rules would see it
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    assert w.condition("Complete") == ("True", "Completed")


def test_a_run_of_which_neither_spec_nor_snapshot_can_be_read_comes_to_its_end() -> None:
    w = world()
    w.settle()
    w.run()
    key = ObjectKey(CONFIG_MAPS, NAMESPACE, w.rayjob().name.removesuffix("-1"))
    w.store.patch(key, {"data": {"manifest.yaml": "?"}})
    w.edit(objective="poetry")
    w.settle()
    assert (w.status["phase"], w.condition("Progressing")) == ("Training", ("True", "Training"))
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    assert w.condition("Failed") == ("True", "RunFailed")


def test_a_suspended_job_that_is_edited_wrongly_stays_suspended_and_accepted_until_it_is_corrected() -> None:
    w = world(job(suspend=True))
    w.settle()
    w.edit(workers={"count": 0})
    w.settle()
    assert (w.condition("Accepted")[0], w.condition("Suspended")[0], w.status["phase"]) == ("True", "True", "Suspended")
    assert w.condition("Progressing") == ("False", "InvalidManifest")
    w.edit(workers={"count": 1}, suspend=False)
    taken(w)


DOCUMENTS = {
    "torn": '{"schema": 1, "kind": "Train',
    "no mapping": "[1, 2]",
    "deep": "[" * 30_000,
    "huge": json.dumps({"schema": 1, "kind": "TrainingJob", "name": "small", "x": "y" * 70_000}),
    "newer": json.dumps({"schema": 2, "kind": "TrainingJob", "name": "small"}),
    "of another job": json.dumps({"schema": 1, "kind": "TrainingJob", "name": "other"}),
    "unknown field": json.dumps({"schema": 1, "kind": "TrainingJob", "name": "small", "mood": "good"}),
    "half a character": '{"schema": 1, "kind": "\\ud800", "name": "small"}',
    "a number without end": '{"schema": 1, "attempts": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("written", DOCUMENTS)
def test_a_document_that_cannot_be_read_is_told_of_and_what_was_known_stays(written: str) -> None:
    w = world()
    w.settle()
    w.run()
    w.driver("Training", progress={"stage": "train", "step": 40})
    w.settle()
    w.write(DOCUMENTS[written])
    w.settle()
    assert w.status["progress"]["step"] == 40
    said = w.message("Progressing")
    assert "driver's status.json" in said
    w.kuberay("Complete", "SUCCEEDED")
    w.settle()
    assert w.condition("Complete") == ("True", "Completed")


def test_the_next_attempt_does_not_complain_of_the_last_ones_document() -> None:
    w = world()
    w.settle()
    w.run()
    w.write("{")
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    w.tick(10)
    assert w.settle() == 1
    assert w.message("Progressing") == "attempt 2: KubeRay has not looked at the RayJob yet"


def test_numbers_that_json_lacks_never_reach_the_server() -> None:
    w = world()
    w.settle()
    w.run()
    metrics = {"loss": math.nan, "validationLoss": "Infinity"}
    w.driver("Training", metrics=metrics, progress={"stage": "train", "step": 3})
    w.settle()
    assert "loss" not in w.status.get("metrics", {})
    assert w.status["progress"]["step"] == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"failures": -1}', '{"ended": "2026"}', '{"outcome": "Great"}'])
def test_a_ledger_edited_by_hand_begins_anew(text: str) -> None:
    w = world()
    w.settle()
    w.run()
    w.store.patch(w.record(), {"metadata": {"annotations": {"modelyard.dev/attempt-ledger": text}}})
    w.settle()
    w.kuberay("Failed", "FAILED", reason="AppFailed")
    w.settle()
    w.tick(10)
    w.settle()
    assert w.status["attempts"] == 2
