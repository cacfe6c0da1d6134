"""The driver as the operator's pod runs it: a Ray that stands already, a ConfigMap for the status, one for the index.

The API server is a real one, with real RBAC: the pod's Role grants get and patch of its ConfigMaps by name, no more.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelyard.errors import ConflictError
from modelyard.kube import ForbiddenError
from modelyard.kube.server import ServerConfigMaps
from modelyard.records import IndexRecord, StatusDocument
from modelyard.registry import open_registry
from modelyard.yard import open_yard
from support.apiserver import Namespace
from support.pods import Pod, data_of, make_configmap, make_pod
from support.racers import race
from support.ray_clusters import RayCluster, ray_cluster
from support.workplaces import make_workplace, wait_until

INDEX = "modelyard-model-tiny"
RACERS = 4
ENOUGH_SECONDS = 240.0  # a minute on a quiet machine


@pytest.fixture(scope="module")
def frozen_marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands once a worker of the cluster stands still, in its second save: so a run cannot end before it may."""
    return tmp_path_factory.mktemp("marker") / "frozen"


@pytest.fixture(scope="module")
def cluster(frozen_marker: Path) -> Iterator[RayCluster]:
    fault = {"MODELYARD_FAULT_POINT": f"checkpoint.save.begin:2:stop:{frozen_marker}"}
    with ray_cluster(environment=fault) as made:
        yield made


def status_in(namespace: Namespace, configmap: str) -> StatusDocument | None:
    text = data_of(namespace, configmap).get("status.json")
    return StatusDocument.from_json(text, origin=configmap) if text else None


def index_of(namespace: Namespace, name: str = INDEX) -> IndexRecord:
    return IndexRecord.from_json(data_of(namespace, name)["index.json"], origin=name)


@pytest.mark.timeout(600)  # two runs on two cores
def test_a_run_is_stopped_from_its_configmap_and_the_next_pod_ends_it(
    namespace: Namespace, cluster: RayCluster, frozen_marker: Path, tmp_path: Path
) -> None:
    place = make_workplace(tmp_path / "claim")
    for name in ("tiny-1-status", "tiny-2-status", INDEX):
        make_configmap(namespace, name)
    first = make_pod(namespace, tmp_path / "first", ["tiny-1-status", INDEX], "first")
    second = make_pod(namespace, tmp_path / "second", ["tiny-2-status", INDEX], "second")

    words = ("run", "-f", "job.yaml", "--set", "spec.optimization.steps=60", "--status-configmap")
    with first.running(place.root, *words, "tiny-1-status", env=cluster.environment) as process:
        wait_until(frozen_marker.exists, process)
        training = status_in(namespace, "tiny-1-status")
        namespace.kubectl("patch", "configmap", "tiny-1-status", "-p", '{"data": {"control": "stop"}}')
        wait_until(place.folder().control.exists, process)
        cluster.resume_stopped()
        said, _ = process.communicate(timeout=ENOUGH_SECONDS)
    assert process.returncode == 143, said
    assert training is not None
    assert training.phase == "Training"
    assert training.run_id is not None
    assert training.run_id.startswith(f"{namespace.name}.tiny-")
    stopped = status_in(namespace, "tiny-1-status")
    assert stopped is not None
    assert (stopped.phase, stopped.last_failure and stopped.last_failure.failure_class) == ("Suspended", "Interrupted")
    assert stopped == place.status()
    assert cluster.is_up()

    with second.running(place.root, *words, "tiny-2-status", env=cluster.environment) as process:
        said, _ = process.communicate(timeout=ENOUGH_SECONDS)
    assert process.returncode == 0, said
    assert "prepare   stands" in said
    ended = status_in(namespace, "tiny-2-status")
    assert ended is not None
    assert (ended.phase, ended.attempts > stopped.attempts) == ("Succeeded", True)
    assert ended == place.status()
    assert min(row["step"] for row in place.rows(f"{namespace.name}.tiny") if row["attempt"] >= ended.attempts) > 20
    assert cluster.is_up()

    index = index_of(namespace)
    assert [(one.version, one.run_id, one.verdict) for one in index.versions] == [(1, ended.run_id, "Passed")]
    assert ended.model is not None
    assert index.versions[0].digest == ended.model.digest
    assert (index.aliases["candidate"].version, index.claims) == (1, ())
    assert not (place.yard.model("tiny") / "aliases").exists()

    with second.running(place.root, "alias", "tiny", "stable", "candidate", "--reason", "by hand") as alias:
        said, _ = alias.communicate(timeout=ENOUGH_SECONDS)
    assert alias.returncode == 0, said
    assert index_of(namespace).aliases["stable"].history[-1].reason == "by hand"


@pytest.fixture
def pod(namespace: Namespace, tmp_path: Path) -> Pod:
    for name in ("q-1-status", "modelyard-model-quickstart", "of-somebody-else"):
        make_configmap(namespace, name)
    return make_pod(namespace, tmp_path / "account", ["q-1-status", "modelyard-model-quickstart"])


def test_the_role_suffices_and_everything_else_is_refused(pod: Pod) -> None:
    maps = ServerConfigMaps(pod.account)
    before = maps.get("q-1-status")
    after = maps.patch("q-1-status", {"status.json": "{}"}, resource_version=before.resource_version)
    assert after.data == {"status.json": "{}"}
    with pytest.raises(ConflictError):
        maps.patch("q-1-status", {"status.json": "late"}, resource_version=before.resource_version)
    with pytest.raises(ForbiddenError, match="of-somebody-else"):
        maps.get("of-somebody-else")
    space = f"/api/v1/namespaces/{pod.namespace.name}"
    grouped = f"/apis/{{}}/namespaces/{pod.namespace.name}"
    refused = [
        ("GET", f"{space}/configmaps"),
        ("GET", f"{space}/configmaps?watch=true&fieldSelector=metadata.name=of-somebody-else"),
        ("POST", f"{space}/configmaps"),
        ("PATCH", f"{space}/configmaps/of-somebody-else"),
        ("DELETE", f"{space}/configmaps/q-1-status"),
        ("PUT", f"{space}/configmaps/q-1-status"),
        ("GET", "/api/v1/namespaces/default/configmaps/q-1-status"),
        ("GET", f"{space}/secrets"),
        ("GET", f"{space}/pods"),
        ("POST", f"{space}/events"),
        ("POST", f"{space}/serviceaccounts/{pod.service_account}/token"),
        ("GET", "/api/v1/namespaces"),
        ("GET", "/api/v1/nodes"),
        ("PATCH", f"{grouped.format('rbac.authorization.k8s.io/v1')}/roles/{pod.service_account}"),
        ("GET", f"{grouped.format('modelyard.dev/v1alpha1')}/trainingjobs"),
        ("PATCH", f"{grouped.format('ray.io/v1')}/rayjobs/any"),
    ]
    assert [(verb, path, code) for verb, path in refused if (code := asked_as(pod, verb, path)) != 403] == []


def asked_as(pod: Pod, verb: str, path: str) -> int:
    """The HTTP status of a bare request with the pod's token."""
    content_type = "application/merge-patch+json" if verb == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {pod.account.token}", "Content-Type": content_type}
    trust = ssl.create_default_context(cafile=pod.account.authority)
    with httpx.Client(verify=trust, timeout=30.0, trust_env=False) as client:
        body = b"{}" if verb != "GET" else None
        return client.request(verb, pod.account.server + path, headers=headers, content=body).status_code


def test_a_renewed_token_is_used_from_the_next_request_on(pod: Pod) -> None:
    maps = ServerConfigMaps(pod.account)
    version = maps.get("q-1-status").resource_version
    (pod.folder / "token").write_text("one-that-has-expired")
    with pytest.raises(ForbiddenError):
        maps.get("q-1-status")
    pod.renew_token()
    assert maps.patch("q-1-status", {}).resource_version == version  # a patch that changes nothing writes nothing


def test_processes_at_once_get_numbers_of_their_own_and_lose_no_move(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in pod.environment.items():
        monkeypatch.setenv(name, value)  # the racers inherit it
    registry = open_registry(open_yard(tmp_path / "yard"))
    models = []
    for number in range(RACERS):
        folder = tmp_path / f"model-{number}"
        folder.mkdir()
        (folder / "config.json").write_text(str(number))
        models.append([str(folder), f"ns.job-{number:08x}"])
    numbers = race("register", registry.yard.root, models)
    assert sorted(numbers) == list(range(1, RACERS + 1))
    index = index_of(pod.namespace, "modelyard-model-quickstart")
    assert {one.version: one.run_id for one in index.versions} == {
        number: run_id for number, (_, run_id) in zip(numbers, models, strict=True)
    }
    times = 5
    moved = race("move", registry.yard.root, [[str(who), str(times)] for who in range(RACERS)])
    assert moved == [list(range(1, times + 1))] * RACERS
    shared = index_of(pod.namespace, "modelyard-model-quickstart").aliases["shared"]
    turns = [change.version for change in shared.history]
    assert all(one != other for one, other in itertools.pairwise(turns))
    assert turns[-1] == shared.version
    assert len(turns) == min(shared.revision, 10)


def test_a_manifest_that_is_refused_says_so_in_its_own_jobs_status(pod: Pod, tmp_path: Path) -> None:
    """A platform image that is older than the operator: it does not know what the operator accepted."""
    (tmp_path / "job.yaml").write_text("kind: TrainingJob\nmetadata: {name: q}\nspec: {fromTheFuture: 1}\n")
    with pod.running(tmp_path, "run", "-f", "job.yaml", "--status-configmap", "q-1-status") as process:
        said, _ = process.communicate(timeout=ENOUGH_SECONDS)
    assert process.returncode == 2, said
    told = status_in(pod.namespace, "q-1-status")
    assert told is not None
    assert (told.kind, told.name, told.phase) == ("TrainingJob", "q", "Failed")
    assert told.last_failure is not None
    assert told.last_failure.failure_class == "InvalidManifest"
    assert told.last_failure.message in said.replace("error: ", "").replace("       ", "")


def test_outside_a_pod_the_option_is_refused_in_words(tmp_path: Path) -> None:
    place = make_workplace(tmp_path / "place")
    done = place.command("run", "-f", "job.yaml", "--status-configmap", "q-1-status", env={"MODELYARD_NAMESPACE": ""})
    assert done.returncode == 2
    assert "MODELYARD_NAMESPACE is not set" in done.stderr
    assert not (place.root / "yard").exists()
