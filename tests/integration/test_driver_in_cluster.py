"""The driver as the operator's pod runs it: a Ray that stands already, a ConfigMap for the status, one for the index.

The API server is a real one, with real RBAC: the pod's Role grants get and patch of its ConfigMaps by name, no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.errors import ConflictError
from modelyard.kube import ForbiddenError
from modelyard.kube.server import ServerConfigMaps
from modelyard.records import IndexRecord, StatusDocument
from modelyard.registry import Registry, open_registry
from modelyard.yard import open_yard
from support.apiserver import Namespace
from support.pods import Pod, data_of, make_configmap, make_pod
from support.racers import race
from support.ray_clusters import RayCluster, ray_cluster
from support.workplaces import make_workplace, wait_until

INDEX = "modelyard-model-tiny"
RACERS = 4


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


def test_a_run_is_stopped_from_its_configmap_and_the_next_pod_ends_it(
    namespace: Namespace, cluster: RayCluster, frozen_marker: Path, tmp_path: Path
) -> None:
    place = make_workplace(tmp_path / "claim")
    for name in ("tiny-1-status", "tiny-2-status", INDEX):
        make_configmap(namespace, name)
    first = make_pod(namespace, tmp_path / "first", ["tiny-1-status", INDEX], "first")
    second = make_pod(namespace, tmp_path / "second", ["tiny-2-status", INDEX], "second")

    words = ("run", "-f", "job.yaml", "--status-configmap")
    process = first.start(place.root, *words, "tiny-1-status", env=cluster.environment)
    wait_until(frozen_marker.exists, process)
    training = status_in(namespace, "tiny-1-status")
    assert training is not None
    assert training.phase == "Training"
    assert training.run_id is not None
    assert training.run_id.startswith(f"{namespace.name}.tiny-")
    namespace.kubectl("patch", "configmap", "tiny-1-status", "-p", '{"data": {"control": "stop"}}')
    wait_until((place.folder().control).exists, process)
    cluster.resume_stopped()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 143, said
    stopped = status_in(namespace, "tiny-1-status")
    assert stopped is not None
    assert (stopped.phase, stopped.last_failure and stopped.last_failure.failure_class) == ("Suspended", "Interrupted")
    assert stopped == place.status()
    assert cluster.is_up()

    process = second.start(place.root, *words, "tiny-2-status", env=cluster.environment)
    said, _ = process.communicate(timeout=240)
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

    alias = second.start(place.root, "alias", "tiny", "stable", "candidate", "--reason", "by hand")
    assert alias.wait(60) == 0
    assert index_of(namespace).aliases["stable"].history[-1].reason == "by hand"
