"""`kubectl apply` trains, evaluates, registers and serves: a real API server, the operator as a process, real Ray.

KubeRay is played by its stand-in, which runs what it is given on this machine. The tests share one namespace and run
in file order: a job whose driver is killed once and which is suspended once, then a deployment of what it registered.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from modelyard import spec
from support.apiserver import ApiServer, Namespace
from support.kuberay.local_ray import LocalRay
from support.kuberay.network import PORT
from support.kuberay.stages import local_kuberay, operator
from support.workplaces import stopped_below, texts

pytestmark = pytest.mark.timeout(600)

EXAMPLES = Path(__file__).parents[2] / "examples"
CLUSTER_ONLY = ["spec.storage.claimName=team-yard", "spec.runtime.image=example.test/modelyard/platform:1"]
SMALLER = [
    "spec.model.config.hidden_size=32", "spec.model.config.intermediate_size=64",
    "spec.model.config.num_hidden_layers=2", "spec.model.config.num_attention_heads=2",
    "spec.model.tokenizer.train.vocabSize=320", "spec.data.sequenceLength=64", "spec.optimization.steps=60",
    "spec.optimization.globalBatchTokens=512", "spec.checkpoint.everySteps=10", "spec.evaluation.everySteps=30",
    "spec.evaluation.gates[0].atMost=9.0",
]  # fmt: skip
SERVED = ["spec.model=registry://quickstart@candidate", "spec.engine.maxSequenceLength=64", "spec.resources.memory=1Gi"]
PATIENCE_SECONDS = 240.0
FREEZE = "MODELYARD_FAULT_POINT"


@dataclass(frozen=True)
class Yardstick:
    """The manifests, and a folder in which `modelyard run` brought the same job to its end."""

    job: Path
    deployment: Path
    local: Path


@dataclass(frozen=True)
class Stage:
    """A namespace with an operator, KubeRay's stand-in, a claim; `frozen` has markers of frozen workers."""

    namespace: Namespace
    claim: Path
    ray: LocalRay
    address: str
    frozen: Path
    operator_log: Path

    def object(self, kind: str, name: str = "quickstart") -> dict[str, Any]:
        found: dict[str, Any] = self.namespace.json("get", kind, name)
        return found

    def conditions(self, kind: str = "tj") -> dict[str, str]:
        entries = self.object(kind).get("status", {}).get("conditions", ())
        return {entry["type"]: entry["status"] for entry in entries}

    def until(self, condition: Callable[[], Any], words: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Ask again and again; fails with what everybody said meanwhile."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"{words}: it did not come to it\n{self.account()}")
            time.sleep(0.2)
        return found

    def account(self) -> str:
        """For a person who has to find out why."""
        logs = [path.read_text(errors="replace")[-1500:] for path in sorted(self.ray.scratch.glob("*/*.log"))]
        shown = self.namespace.kubectl("get", "tj,md,rayjobs,rayservices,pods", "-o", "wide")
        told = self.namespace.kubectl("describe", "tj,md")[-4000:]
        return "\n".join([shown, told, self.operator_log.read_text()[-3000:], *logs])

    def wait_until_frozen(self, attempt: int) -> psutil.Process:
        """A worker of this attempt stands still in a save: returns the worker."""
        marker = self.frozen / str(attempt)
        self.until(marker.exists, f"attempt {attempt} saves")
        driver = list(self.ray.jobs.values())[attempt].process
        return self.until(lambda: stopped_below(driver.pid), f"a worker of attempt {attempt} stands still")[0]  # type: ignore[no-any-return]


def make_claim(folder: Path) -> Path:
    """A storage root with a little text where the example looks for it."""
    for name, seed, count in (("train", 7, 300), ("validation", 8, 40)):
        place = folder / "corpus" / name
        place.mkdir(parents=True)
        lines = (json.dumps({"text": text}) + "\n" for text in texts(seed, count))
        (place / "words.jsonl").write_text("".join(lines))
    return folder


def manifest(example: str, path: Path, overrides: list[str]) -> Path:
    """An example's manifest with overrides, as a file."""
    (found,) = spec.parse((EXAMPLES / example).read_text(), origin=example, overrides=overrides)
    path.write_text(spec.to_yaml(found, defaults=False))
    return path


@pytest.fixture(scope="module")
def yardstick(tmp_path_factory: pytest.TempPathFactory) -> Yardstick:
    root = tmp_path_factory.mktemp("local")
    job = manifest("quickstart.yaml", root / "job.yaml", [*SMALLER, *CLUSTER_ONLY])
    deployment = manifest("quickstart-deployment.yaml", root / "deployment.yaml", [*SERVED, *CLUSTER_ONLY])
    local = make_claim(root / "storage")
    command = [sys.executable, "-m", "modelyard", "run", "-f", str(job)]
    done = subprocess.run(command, cwd=local, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Yardstick(job, deployment, local)


@pytest.fixture(scope="module")
def stage(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if not api_server.controllers:
        pytest.skip("this API server has no controllers: nothing removes what a deleted object owned")
    scratch = tmp_path_factory.mktemp("cluster")
    frozen = scratch / "frozen"
    frozen.mkdir()
    claim = make_claim(scratch / "claim")
    extras = {
        attempt: {FREEZE: f"checkpoint.save.begin:{save}:stop:{frozen / str(attempt)}"}
        for attempt, save in ((0, 2), (1, 2))
    }
    log = scratch / "operator.log"
    with (
        api_server.new_namespace() as namespace,
        local_kuberay(namespace, scratch / "ray", {"team-yard": claim}, extras) as cluster,
        operator(namespace, cluster.address, log),
    ):
        yield Stage(namespace, claim, cluster.ray, cluster.address, frozen, log)


def test_without_its_claim_a_job_is_not_accepted_and_says_so(stage: Stage, yardstick: Yardstick) -> None:
    assert "trainingjob.modelyard.dev/quickstart created" in stage.namespace.kubectl("apply", "-f", str(yardstick.job))
    stage.until(lambda: stage.conditions().get("Accepted") == "False", "a job without its claim is refused")
    assert "team-yard" in stage.namespace.kubectl("get", "tj", "quickstart", "-o", "jsonpath={.status.conditions}")
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "team-yard"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip
    stage.namespace.kubectl("apply", "-f", "-", text=json.dumps(claim))
    stage.until(lambda: stage.conditions().get("Accepted") == "True", "the claim has come")


def test_a_killed_driver_is_followed_by_another_attempt(stage: Stage) -> None:
    worker = stage.wait_until_frozen(0)
    step = stage.until(lambda: stage.object("tj")["status"].get("progress", {}).get("step"), "the step is told")
    assert step > 0
    header, line = stage.namespace.kubectl("get", "tj").splitlines()
    assert header.split() == ["NAME", "PHASE", "STEP", "LOSS", "TOKENS/S", "REASON", "AGE"]
    assert line.split()[:3] == ["quickstart", "Training", str(step)]
    worker.kill()  # the kernel wakes what stands still when its parents die: it would train on to the end
    next(iter(stage.ray.jobs.values())).end()
    stage.until(lambda: len(stage.ray.jobs) > 1, "a second attempt")
    assert stage.object("tj")["status"]["attempts"] == 2


def test_suspending_lets_the_driver_commit_and_frees_everything(stage: Stage) -> None:
    worker = stage.wait_until_frozen(1)
    stage.namespace.kubectl("patch", "tj", "quickstart", "--type=merge", "-p", '{"spec": {"suspend": true}}')

    def told() -> bool:
        maps = stage.namespace.json("get", "configmaps")["items"]
        return any(item.get("data", {}).get("control") == "stop" for item in maps)

    stage.until(told, "the driver is asked to stop")
    worker.resume()
    stage.namespace.kubectl("wait", "--for=condition=Suspended", "tj/quickstart", "--timeout=120s", timeout_seconds=130)
    stage.until(lambda: not stage.namespace.json("get", "pods")["items"], "its pods are gone")
    driver = list(stage.ray.jobs.values())[1]
    assert driver.process.wait(30) == 143, driver.tail()
    assert stage.object("tj")["status"]["phase"] == "Suspended"


def test_it_goes_on_and_ends_with_the_weights_of_a_run_on_one_machine(stage: Stage, yardstick: Yardstick) -> None:
    stage.namespace.kubectl("patch", "tj", "quickstart", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    stage.until(lambda: len(stage.ray.jobs) > 2, "a third attempt")
    waited = stage.namespace.run_kubectl(
        "wait", "--for=condition=Complete", "tj/quickstart", "--timeout=240s", timeout_seconds=250
    )
    assert waited.returncode == 0, waited.stderr + stage.account()
    status = stage.object("tj")["status"]
    assert (status["phase"], status["model"]["name"], status["model"]["version"]) == ("Succeeded", "quickstart", 1)
    assert status["progress"]["step"] == 60
    assert weights(stage.claim) == weights(yardstick.local)
    index = stage.namespace.json("get", "configmap", "modelyard-model-quickstart")
    assert json.loads(index["data"]["index.json"])["aliases"]["candidate"]["version"] == 1


def weights(root: Path) -> str:
    return hashlib.sha256((root / "yard/models/quickstart/1/model.safetensors").read_bytes()).hexdigest()


def test_an_ended_job_leaves_its_snapshot_alone(stage: Stage) -> None:
    def left() -> set[str]:
        kinds = "rayjobs,rayclusters,pods,services,roles,rolebindings,networkpolicies"
        names = stage.namespace.kubectl("get", kinds, "-o", "name").split()
        return {name for name in names if "/modelyard" not in name}  # beside the operator's own roles

    stage.until(lambda: not left(), "its children are removed")


def test_kubectl_tells_the_story(stage: Stage) -> None:
    described = stage.namespace.kubectl("describe", "tj", "quickstart")
    for reason in ("Accepted", "Suspended", "Complete"):
        assert reason in described
    assert "modelyard-operator" in described
    header, line = stage.namespace.kubectl("get", "tj", "-o", "wide").splitlines()
    assert len(header.split()) > 7
    assert line.split()[1] == "Succeeded"
    assert "quickstart" in stage.namespace.kubectl("get", "modelyard")
    explained = stage.namespace.kubectl("explain", "trainingjob.spec.optimization")
    assert "globalBatchTokens" in explained


def test_a_deployment_becomes_available_and_answers_the_openai_client(stage: Stage, yardstick: Yardstick) -> None:
    stage.namespace.kubectl("apply", "-f", str(yardstick.deployment))
    waited = stage.namespace.run_kubectl(
        "wait", "--for=condition=Available", "md/quickstart", "--timeout=240s", timeout_seconds=250
    )
    assert waited.returncode == 0, waited.stderr + stage.account()
    answer = client(stage).completions.create(model="quickstart", prompt="the model", max_tokens=8, temperature=0)
    assert answer.system_fingerprint == "quickstart@1"
    header, line = stage.namespace.kubectl("get", "md").splitlines()
    assert {"NAME", "VERSION", "READY", "REPLICAS", "URL"} <= set(header.split())
    assert {"quickstart", "Ready", stage.object("md")["status"]["url"]} <= set(line.split())


def client(stage: Stage) -> openai.OpenAI:
    """As a Pod of the cluster: the URL of the status, resolved by the cluster's DNS."""
    url = stage.object("md")["status"]["url"]
    host = url.split("//")[1].split(":")[0].split("/")[0]
    return openai.OpenAI(
        base_url=f"http://{stage.address}:{PORT}/v1", api_key="none", max_retries=0, timeout=60,
        default_headers={"Host": f"{host}:{PORT}"},
    )  # fmt: skip


def test_scale_really_scales(stage: Stage) -> None:
    stage.namespace.kubectl("scale", "md/quickstart", "--replicas=2")

    def replicas() -> int:
        (host,) = stage.ray.hosts.values()
        return sum(host.state().get("replicas", {}).values())

    stage.until(lambda: replicas() == 2, "two replicas run")
    stage.until(lambda: stage.object("md")["status"].get("readyReplicas") == 2, "the status counts them")
    assert client(stage).models.list().data[0].id == "quickstart"
