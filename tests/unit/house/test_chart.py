"""The chart renders, is refused when misspelt, and promises what its pods and roles must keep."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from support.charts import CHART, NAMESPACE, VALUES, files, helm, objects, of_kind

KUBERNETES = ("1.29", "1.33", "1.37")  # the oldest that the chart accepts, one between, the newest known here
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_it_lints(values: dict[str, Any]) -> None:
    report = helm().lint(CHART, values, strict=True, namespace=NAMESPACE)
    assert report["errors"] == []
    assert {message["error"] for message in report["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_own_schemas_accept_every_object(values: dict[str, Any], version: str) -> None:
    others = {"PodMonitor", "PrometheusRule", "ServiceMonitor"}  # held to schemas of their own
    once = {"CustomResourceDefinition"} if values else set()  # large, and the same for all values
    checked = [item for item in objects(values) if item["kind"] not in others | once]
    assert checked
    for item in checked:
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_object_is_named_once_and_labelled(values: dict[str, Any]) -> None:
    seen = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects(values)]
    assert len(set(seen)) == len(seen)
    for item in objects(values):
        if item["kind"] != "CustomResourceDefinition":
            assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert ("namespace" in item["metadata"]) != (item["kind"] in CLUSTER_SCOPED)


REFUSED = {
    "a misspelt value": ({"replica": 3}, "'replica' not allowed"),
    "a misspelt value within": ({"monitoring": {"serviceMonitor": {"on": True}}}, "/monitoring/serviceMonitor"),
    "a tag that is none": ({"image": {"tag": "a b"}}, "/image/tag"),
    "a digest that is none": ({"platformImage": {"digest": "sha256:12"}}, "/platformImage/digest"),
    "several namespaces": ({"watchNamespace": "a,b"}, "/watchNamespace"),
    "a word for a number": ({"replicas": "two"}, "/replicas"),
    "an account without a name": ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
}


@pytest.mark.parametrize(("values", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(helm().HelmError, match=words):
        files(values)


def test_every_value_is_described_and_no_other_is_known() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    values = YAML(typ="safe").load((CHART / "values.yaml").read_text())
    described = dict(_leaves(schema))
    assert all(described.values())
    assert set(_paths(values)) <= set(described)
    assert {path for path in described if path[0] != "global"} <= {
        path[:depth] for path in _paths(values) for depth in range(1, len(path) + 1)
    }


def _leaves(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, part in schema.get("properties", {}).items():
        yield (*at, name), part.get("description", "")
        if part.get("type") == "object":
            yield from _leaves(part, (*at, name))


def _paths(values: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where values stand that the chart itself names; what is handed on to Kubernetes is one value."""
    for name, value in values.items():
        whole = name in ("resources", "podSecurityContext", "securityContext")
        if isinstance(value, dict) and value and not whole:
            yield from _paths(value, (*at, name))
        else:
            yield (*at, name)


def test_the_operator_runs_without_rights_on_its_node() -> None:
    pod = of_kind("Deployment")["modelyard"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    assert not any(key in pod for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_two_replicas_of_which_one_leads_and_one_survives_a_drain() -> None:
    deployment = of_kind("Deployment")["modelyard"]
    assert deployment["spec"]["replicas"] == 2
    assert "--leader-elect" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    (budget,) = of_kind("PodDisruptionBudget").values()
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert not of_kind("PodDisruptionBudget", {"replicas": 1}), "a lone pod could never be drained"


@pytest.mark.parametrize("kind", ["Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor"])
def test_selectors_find_the_pods(kind: str) -> None:
    labels = of_kind("Deployment")["modelyard"]["spec"]["template"]["metadata"]["labels"]
    for item in of_kind(kind, VALUES["monitored"]).values():
        spec = item["spec"]
        wished = spec.get("podSelector") or spec["selector"]
        wished = wished.get("matchLabels", wished)
        target = of_kind("Service")["modelyard-metrics"]["metadata"]["labels"] if kind == "ServiceMonitor" else labels
        assert wished.items() <= target.items()
        assert wished


def rules(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every rule that the operator's account gets."""
    return [
        rule
        for item in objects(values)
        if item["kind"] in ("Role", "ClusterRole") and not item["metadata"]["name"].endswith(("-edit", "-view"))
        for rule in item["rules"]
    ]


@pytest.mark.parametrize("values", [VALUES["default"], VALUES["namespaced"]], ids=["cluster", "namespaced"])
def test_roles_name_every_verb_and_no_secret(values: dict[str, Any]) -> None:
    for rule in rules(values):
        words = {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
        assert "*" not in words
        assert not words & {"secrets", "escalate", "bind", "impersonate", "pods/exec", "nodes", "clusterroles"}
    (named,) = [rule for rule in rules(values) if rule["resources"] == ["leases"] and rule["verbs"] != ["create"]]
    assert named["resourceNames"] == ["modelyard-operator"]


@pytest.mark.parametrize(("values", "place"), [("default", None), ("namespaced", "team-a")])
def test_releases_that_watch_different_namespaces_have_leases_of_their_own(values: str, place: str | None) -> None:
    made = objects(VALUES[values])
    lease = [item for item in made if item["metadata"]["name"].endswith("-lease")]
    (operator,) = [item for item in made if item["kind"] == "Deployment"]
    arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {item["metadata"]["namespace"] for item in lease} == {place or operator["metadata"]["namespace"]}
    assert [one for one in arguments if "lease-namespace" in one] == ([f"--lease-namespace={place}"] if place else [])


def test_one_namespace_needs_nothing_of_the_cluster() -> None:
    kinds = {item["kind"] for item in objects({**VALUES["namespaced"], "crds": {"install": False}})}
    assert not kinds & CLUSTER_SCOPED
    bound = of_kind("RoleBinding", VALUES["namespaced"])["modelyard"]
    assert bound["metadata"]["namespace"] == "team-a"
    assert bound["subjects"][0]["namespace"] == NAMESPACE
    cluster_rules = of_kind("ClusterRole")[f"modelyard-{NAMESPACE}"]["rules"]
    assert of_kind("Role", VALUES["namespaced"])["modelyard"]["rules"] == cluster_rules
    args = of_kind("Deployment", VALUES["namespaced"])["modelyard"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--namespace=team-a" in args


def test_kuberay_comes_with_it_once_fetched(tmp_path: Path) -> None:
    """A stand-in for KubeRay's chart at the version that is declared; the real one cannot be had offline."""
    chart = unfetched(tmp_path)
    fetched = chart / "charts/kuberay/charts/kuberay-operator"
    (fetched / "templates").mkdir(parents=True)
    (fetched / "Chart.yaml").write_text("apiVersion: v2\nname: kuberay-operator\nversion: 1.7.0\n")
    (fetched / "templates/it.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kuberay}\ndata: {n: '{{ .Values.reconcileConcurrency }}'}\n"
    )
    own = {item["metadata"]["name"] for item in objects({}, chart)}
    (added,) = [item for item in objects({"kuberay": {"enabled": True}}, chart) if item["metadata"]["name"] not in own]
    assert added["data"] == {"n": "4"}, "values under kuberay.kuberay-operator reach it"


def test_kuberay_that_was_not_fetched_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(helm().HelmError, match="helm dependency build"):
        files({"kuberay": {"enabled": True}}, unfetched(tmp_path))


def unfetched(folder: Path) -> Path:
    """A copy of the chart as it is committed, whatever a developer has fetched into it."""
    return shutil.copytree(
        CHART, folder / "modelyard", ignore=shutil.ignore_patterns("kuberay-operator*", "Chart.lock")
    )


def test_notes_tell_what_is_missing() -> None:
    notes = files({})["modelyard/templates/NOTES.txt"]
    assert "all namespaces" in notes
    assert "Modelyard needs KubeRay 1.7" in notes
    assert "modelyard-operator crds" in files(VALUES["CRDs from elsewhere"])["modelyard/templates/NOTES.txt"]
