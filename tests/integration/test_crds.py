"""The CRDs on a real API server: what they take and refuse, by which field, and what kubectl makes of them."""

from __future__ import annotations

import json
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from modelyard.spec import from_dict, spec_digest
from modelyard.spec.fields import fields_of
from modelyard.spec.manifests import KINDS
from modelyard_operator.kinds.fitting import fitted
from modelyard_operator.kinds.objects import OURS
from modelyard_operator.kinds.rules import ALWAYS, PART_RULES, WHILE_SUSPENDED, root_rules
from support.apiserver import ApiServer, Namespace
from support.crd_cases import EVALUATE, GONE, RULES, SCHEMA, SERVE, TRAIN, Case, manifest
from support.manifests import GOOD, the
from support.statuses import TIME, full_status

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
PLURALS = {resource.kind: resource.plural for resource in OURS}
MERGE = "application/merge-patch+json"


@pytest.fixture(autouse=True)
def _rules(request: pytest.FixtureRequest) -> None:
    """An older server takes the CRDs without their rules, and every field that they do not know."""
    asks = {"api_server", "namespace"} & set(request.fixturenames)
    if asks and not request.getfixturevalue("api_server").checks_rules:
        pytest.skip("this API server is too old to check the CRDs' rules (CEL: from 1.25)")


def send(namespace: Namespace, method: str, kind: str, body: Any, *, name: str = "", query: str = "") -> Any:
    """What the server answers: the object, or the Status by which it refuses."""
    path = f"/apis/modelyard.dev/v1alpha1/namespaces/{namespace.name}/{PLURALS[kind]}{name and '/' + name}"
    content = MERGE if method == "PATCH" else "application/json"
    try:
        return namespace.server.request(method, f"{path}?fieldValidation=Strict{query}", body, content)
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def tried(server: ApiServer, body: dict[str, Any]) -> Any:
    """What the server would answer to its creation."""
    return send(Namespace("default", server), "POST", body["kind"], body, query="&dryRun=All")


def is_refusal(answer: Any) -> bool:
    return bool(answer["kind"] == "Status")


def refused_for(answer: Any) -> list[tuple[str, str]]:
    """Fields and words of a refusal."""
    assert is_refusal(answer), answer
    causes = answer.get("details", {}).get("causes") or [{"message": answer["message"]}]
    return [(cause.get("field", ""), cause["message"]) for cause in causes]


def names(case: Case) -> str:
    return f"{case.kind}: {case.field or case.words}"


@pytest.mark.parametrize("case", [*RULES, *SCHEMA], ids=names)
def test_a_rule_takes_and_refuses(api_server: ApiServer, case: Case) -> None:
    assert not is_refusal(taken := tried(api_server, manifest(case.kind, case.good))), taken
    found = refused_for(tried(api_server, manifest(case.kind, case.bad)))
    assert [True for field, words in found if field == case.field and case.words in words], found


def test_every_rule_has_its_cases() -> None:
    assert {case.words for case in RULES} == {rule.message for rules in PART_RULES.values() for rule in rules}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_what_validate_accepts_the_server_takes(api_server: ApiServer, text: str) -> None:
    """And with the server's defaults written in it is the same manifest, by its digest."""
    wished = the(text)
    answer = tried(api_server, YAML(typ="safe").load(text))
    assert not is_refusal(answer), answer
    back = {"apiVersion": answer["apiVersion"], "kind": answer["kind"], "metadata": {"name": wished.metadata.name}}
    assert spec_digest(from_dict({**back, "spec": answer["spec"]})) == spec_digest(wished)


def test_examples_are_applied_twice(namespace: Namespace) -> None:
    words = [f"--filename={path}" for path in EXAMPLES]
    assert namespace.kubectl("apply", *words).count(" created") == len(EXAMPLES)
    assert namespace.kubectl("apply", *words).count(" unchanged") == len(EXAMPLES)
    assert len(namespace.json("get", "modelyard")["items"]) == len(EXAMPLES)


# A change to each field that a rule about changing speaks of.
CHANGES: dict[str, Any] = {
    "objective": "chat",
    "maskedLm": {"probability": 0.2},
    "seq2seq": {},
    "chat": {},
    "textClassification": {"labels": ["a"]},
    "tokenClassification": {"labels": ["a"]},
    "questionAnswering": {},
    "preference": {},
    "distillation": {"teacher": "./a"},
    "model": {"config": {"hidden_size": 96}},
    "data": {"packing": False},
    "optimization": {"seed": 8},
    "sharding": {"deepspeed": {"dump_state": True}},
    "workers": {"count": 3},
    "checkpoint": {"everySteps": 40},
    "faultTolerance": {"maxRestarts": 5},
    "evaluation": None,
    "register": {"aliases": []},
    "storage": {"claimName": "other"},
    "target": {"model": "registry://small@2"},
    "baseline": {"model": "registry://small@1"},
    "suites": [{"name": "heldout", "task": "perplexity"}],
    "gates": None,
    "promote": {"alias": "stable"},
    "runtime.image": "other",
    "runtime.imagePullPolicy": "Never",
    "runtime.imagePullSecrets": [{"name": "a"}],
    "runtime.env": [{"name": "A", "value": "a"}],
    "runtime.envFrom": [{"secretRef": {"name": "a"}}],
    "runtime.volumes": [{"name": "a", "mountPath": "/a", "emptyDir": {}}],
    "runtime.sharedMemory": "1Gi",
    "runtime.head": {"cpu": "2"},
    "runtime.queue": "gold",
    "runtime.gpuResource": "amd.com/gpu",
    "runtime.labels": {"a": "b"},
    "runtime.annotations": {"a": "b"},
    "runtime.nodeSelector": {"a": "b"},
    "runtime.affinity": {"nodeAffinity": {"a": "b"}},
    "runtime.tolerations": [{"key": "a"}],
    "runtime.serviceAccountName": "a",
    "runtime.priorityClassName": "a",
}


def patch_of(path: str, value: Any) -> dict[str, Any]:
    for word in reversed(path.split(".")):
        value = {word: value}
    return {"spec": value}


def all_of(paths: set[str]) -> dict[str, Any]:
    """All of these changes at once."""
    made: dict[str, Any] = {"runtime": {}}
    for path in paths:
        outer, _, inner = path.partition(".")
        made.update({outer: made["runtime"] | {inner: CHANGES[path]}} if inner else {outer: CHANGES[path]})
    return {"spec": made}


def conditions(*kinds: str) -> dict[str, Any]:
    """A status in which these conditions are true."""
    made = [
        {"type": kind, "status": "True", "reason": "Training", "message": "", "lastTransitionTime": TIME}
        for kind in kinds
    ]
    return {"status": {"conditions": made}}


def put_status(namespace: Namespace, kind: str, name: str, status: dict[str, Any]) -> Any:
    return send(namespace, "PATCH", kind, status, name=f"{name}/status")


class Standing:
    """An object that stands, on which changes are tried."""

    def __init__(self, namespace: Namespace, kind: str) -> None:
        body = manifest(kind)
        self.namespace, self.kind, self.name = namespace, kind, body["metadata"]["name"]
        assert not is_refusal(send(namespace, "POST", kind, body))

    def told(self, *kinds: str) -> None:
        answer = put_status(self.namespace, self.kind, self.name, conditions(*kinds))
        assert not is_refusal(answer), answer

    def change(self, patch: dict[str, Any], *, for_good: bool = False) -> Any:
        query = "" if for_good else "&dryRun=All"
        return send(self.namespace, "PATCH", self.kind, patch, name=self.name, query=query)

    def refused(self, *paths: str) -> set[str]:
        """Which of these fields cannot be changed now; each refusal names that field alone."""
        found = set()
        for path in paths:
            answer = self.change(patch_of(path, CHANGES[path]))
            if is_refusal(answer):
                ((field, words),) = refused_for(answer)
                assert (field, "Forbidden" in words) == (f"spec.{path}", True), answer
                found.add(path)
        return found


@pytest.mark.parametrize("kind", [TRAIN, EVALUATE])
def test_what_may_change_and_when(namespace: Namespace, kind: str) -> None:
    """Free until accepted; then fixed; while suspended what does not touch the result may change."""
    ruled = {rule.field.removeprefix("spec.") for rule in root_rules(kind)}
    assert ruled <= CHANGES.keys()
    loose = {path for path in ruled if path.partition(".")[0] in WHILE_SUSPENDED}
    job = Standing(namespace, kind)
    assert not is_refusal(answer := job.change(all_of(ruled))), answer
    job.told("Accepted")
    assert job.refused(*ruled) == ruled
    assert not is_refusal(job.change({"spec": {"suspend": True}}, for_good=True))
    assert job.refused(*loose) == loose  # suspending is wished, but not yet so
    job.told("Accepted", "Suspended")
    assert job.refused(*ruled) == ruled - loose
    assert not is_refusal(job.change({"spec": {"suspend": False, "workers": {"count": 4}}}, for_good=True))
    assert job.refused(*loose) == loose  # it goes on, though the condition still stands


@pytest.mark.parametrize("kind", [TRAIN, EVALUATE])
def test_suspend_and_deadlines_may_always_change(namespace: Namespace, kind: str) -> None:
    job = Standing(namespace, kind)
    job.told("Accepted")
    for path in sorted(ALWAYS):
        value = True if path == "suspend" else 5000
        answer = job.change(patch_of(path, value), for_good=True)
        assert not is_refusal(answer), answer
        assert job.change(patch_of(path, None))["kind"] == kind


def test_what_was_set_cannot_be_taken_out(namespace: Namespace) -> None:
    job = Standing(namespace, TRAIN)
    job.told("Accepted")
    optional = ("sharding", "workers", "checkpoint", "faultTolerance", "evaluation")
    for name in optional:
        assert [field for field, _ in refused_for(job.change({"spec": {name: None}}))] == [f"spec.{name}"]


def test_a_deployment_changes_in_every_way(namespace: Namespace) -> None:
    deployment = Standing(namespace, SERVE)
    deployment.told("Accepted", "Available")
    spec = KINDS[SERVE].model_fields["spec"].annotation
    assert {name for name, _ in fields_of(spec)} == {*CHANGED}
    for name, value in CHANGED.items():
        answer = deployment.change({"spec": {name: value}})
        assert not is_refusal(answer), answer


CHANGED: dict[str, Any] = {
    "model": "registry://small@2",
    "engine": {"maxSequences": 4},
    "replicas": 5,
    "autoscaling": None,
    "resources": {"gpu": 1},
    "rollout": {"deadlineSeconds": 60},
    "api": {"keysSecretRef": {"name": "a", "key": "b"}},
    "storage": {"claimName": "a"},
    "runtime": {"image": "a"},
}


@pytest.mark.parametrize("kind", [TRAIN, EVALUATE, SERVE])
def test_a_full_status_is_kept_whole(namespace: Namespace, kind: str) -> None:
    """A field that the schema does not know would vanish without a word."""
    standing = Standing(namespace, kind)
    answer = put_status(namespace, kind, standing.name, {"status": full_status(kind)})
    assert answer["status"] == full_status(kind)


HOSTILE: dict[str, Any] = {
    "texts of a megabyte": {
        "runId": "x" * 10**6,
        "lastFailure": {"message": "é" * 10**6, "evidence": ["x" * 10**5] * 99},
    },
    "other types": {"attempts": "2", "phase": 7, "metrics": [], "progress": {"step": 1.5}, "model": "small"},
    "numbers beyond": {"attempts": 2**80, "metrics": {"loss": float("inf")}, "progress": {"tokens": -(2**70)}},
    "words beyond": {"phase": "Dreaming", "verdict": "Maybe", "startTime": "yesterday", "runId": "\udc80\x00"},
    "conditions twice": {"conditions": [*conditions("Failed", "Failed")["status"]["conditions"], {"type": "A"}]},
    "a newer document": {"schema": 9, "colours": {"red": 1}, "progress": {"stage": "train", "moon": "full"}},
}


@pytest.mark.parametrize("written", HOSTILE.values(), ids=HOSTILE)
def test_any_status_is_taken_once_fitted(namespace: Namespace, written: Any) -> None:
    standing = Standing(namespace, TRAIN)
    status = fitted(TRAIN, written)
    answer = put_status(namespace, TRAIN, standing.name, {"status": status})
    assert not is_refusal(answer), answer
    assert answer.get("status", {}) == status


COLUMNS = {
    TRAIN: (
        "NAME PHASE STEP LOSS TOKENS/S REASON AGE",
        "small Training 120 2.5 2048.5 Training",
        "STEPS ETA COMMIT ATTEMPTS MODEL VERSION QUEUE RUN",
        "480 12.5 100 2 small 3 team.small-0123abcd",
    ),
    EVALUATE: (
        "NAME PHASE VERDICT METRIC VALUE REASON AGE",
        "check Running Passed bits_per_byte 2.25 Training",
        "SUITE LOW HIGH MODEL ATTEMPTS QUEUE RUN",
        "heldout 2.125 2.375 registry://small@candidate 2 team.small-0123abcd",
    ),
    SERVE: (
        "NAME PHASE VERSION READY REPLICAS URL REASON AGE",
        "answers Ready 3 2 3 http://answers.team.svc.cluster.local:8000 Training",
        "MODEL AVAILABLE DIGEST",
        f"registry://small@1 sha256:{'0' * 64}",
    ),
}


@pytest.mark.parametrize(("kind", "short"), [(TRAIN, "tj"), (EVALUATE, "ej"), (SERVE, "md")])
def test_columns_tell_what_matters(namespace: Namespace, kind: str, short: str) -> None:
    standing = Standing(namespace, kind)
    put_status(namespace, kind, standing.name, {"status": full_status(kind)})
    heads, row, wide_heads, wide = COLUMNS[kind]
    printed = namespace.kubectl("get", short).splitlines()
    assert printed[0].split() == heads.split()
    assert printed[1].split()[:-1] == row.split()
    printed = namespace.kubectl("get", short, "-o", "wide").splitlines()
    assert printed[0].split() == [*heads.split(), *wide_heads.split()]
    assert printed[1].split()[len(heads.split()) :] == wide.split()


def test_kubectl_waits_for_conditions(namespace: Namespace) -> None:
    job = Standing(namespace, TRAIN)
    job.told("Accepted", "Complete")
    assert "condition met" in namespace.kubectl("wait", "--for=condition=Complete", "tj/small", "--timeout=20s")


def test_kubectl_scales_a_deployment(namespace: Namespace) -> None:
    deployment = Standing(namespace, SERVE)
    put_status(namespace, SERVE, deployment.name, {"status": full_status(SERVE)})
    namespace.kubectl("scale", "md/answers", "--replicas=3")
    assert namespace.json("get", "md", "answers")["spec"]["replicas"] == 3
    scale = send(namespace, "GET", SERVE, None, name="answers/scale")
    assert scale["status"] == {"replicas": 3, "selector": "ray.io/cluster=answers"}
    self_scaling = {"spec": {"replicas": None, "autoscaling": {"maxReplicas": 2}}}
    assert not is_refusal(deployment.change(self_scaling, for_good=True))
    refused = namespace.run_kubectl("scale", "md/answers", "--replicas=4")
    assert refused.returncode != 0
    assert "set at most one of replicas, autoscaling" in refused.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trainingjob.spec.optimization", ["exactly one of", "globalBatchTokens", "Positions per optimizer step"]),
        ("tj.spec.runtime.env.valueFrom.secretKeyRef.name", ["Name of the object."]),
        ("ej.spec.gates", ["notWorseThanBaseline", "The metric's interval must lie at or below this."]),
        ("modeldeployment.status", ["readyReplicas", "Replicas that answer."]),
    ],
)
def test_kubectl_explains(api_server: ApiServer, path: str, words: list[str]) -> None:
    """The front server learns a new kind's schema a little after it was installed."""
    end = time.monotonic() + 90
    while (told := api_server.run_kubectl("explain", path)).returncode != 0 and time.monotonic() < end:
        time.sleep(1)
    text = " ".join(told.stdout.split())
    assert not [word for word in words if word not in text], told.stdout + told.stderr


def test_a_field_taken_out_by_the_tables_is_gone() -> None:
    """The table's own tool: what is GONE is no null."""
    assert "register" not in manifest(TRAIN, {"spec.register": GONE})["spec"]
