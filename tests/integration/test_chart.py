"""The chart at a real API server: dry-run of every object it knows, install to uninstall, and what the roles allow."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_operator.cluster.observing import LOOKED_AT
from modelyard_operator.kinds.objects import (
    CONFIG_MAPS,
    EVALUATION_JOBS,
    EVENTS,
    MODEL_DEPLOYMENTS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    RAY_CLUSTERS,
    RAY_JOBS,
    RAY_SERVICES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    TRAINING_JOBS,
    Resource,
)
from support.apiserver import ApiServer, Namespace
from support.charts import CHART, NAMESPACE, VALUES, helm, objects

Access = tuple[str, str, str]  # verb, API group, resource[/subresource]
CHILDREN = (CONFIG_MAPS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS)


def served(server: ApiServer) -> set[tuple[str, str]]:
    """(apiVersion, kind) of what the server knows, by discovery."""
    groups = server.request("GET", "/apis")["groups"]
    versions = [version["groupVersion"] for group in groups for version in group["versions"]]
    paths = {"v1": "/api/v1", **{version: f"/apis/{version}" for version in versions}}
    return {
        (version, resource["kind"])
        for version, path in paths.items()
        for resource in server.request("GET", path)["resources"]
    }


def in_place(values: dict[str, Any], namespace: str) -> list[dict[str, Any]]:
    """A release in a namespace of the test, which it watches too where it watches one."""
    watched = {"watchNamespace": namespace} if "watchNamespace" in values else {}
    return objects({**values, **watched}, namespace=namespace)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_server_side_dry_run(values: dict[str, Any], api_server: ApiServer, namespace: Namespace) -> None:
    """CRDs go in by another door (test_crds.py); the Prometheus operator's kinds are held to schemas (unit)."""
    known = served(api_server)
    asked = [
        item
        for item in in_place(values, namespace.name)
        if (item["apiVersion"], item["kind"]) in known and item["kind"] != "CustomResourceDefinition"
    ]
    assert {"Deployment", "Service", "NetworkPolicy"} <= {item["kind"] for item in asked}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": asked})
    told = api_server.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text=text)
    assert told.count("serverside-applied (server dry run)") == len(asked)


def test_install_upgrade_roll_back_uninstall(api_server: ApiServer, namespace: Namespace, tmp_path: Path) -> None:
    """By Helm itself. A server that is too old for the chart, or lacks policy/v1, gets it without these."""
    chart = tmp_path / "modelyard"
    shutil.copytree(CHART, chart)
    (chart / "Chart.yaml").write_text(re.sub("kubeVersion.*\n", "", (chart / "Chart.yaml").read_text()))
    budget = ("policy/v1", "PodDisruptionBudget") in served(api_server)
    values = {
        "watchNamespace": namespace.name,
        "crds": {"install": False},
        "podDisruptionBudget": {"enabled": budget},
    }
    config = helm().Config(kubeconfig_path=api_server.kubeconfig, namespace=namespace.name)
    with config as release:
        assert release.install(chart, "modelyard", values)["status"] == "deployed"
        uid = namespace.json("get", "deployment", "modelyard")["metadata"]["uid"]
        assert release.upgrade(chart, "modelyard", {**values, "replicas": 3})["revision"] == 2
        assert replicas(namespace) == 3
        release.rollback("modelyard", version=1)
        assert replicas(namespace) == 2
        assert namespace.json("get", "deployment", "modelyard")["metadata"]["uid"] == uid
        release.uninstall("modelyard")
    left = namespace.kubectl("get", "deployment,service,role,rolebinding,networkpolicy", "-o", "name")
    assert "modelyard" not in left


def replicas(namespace: Namespace) -> int:
    """Of the operator's Deployment."""
    count: int = namespace.json("get", "deployment", "modelyard")["spec"]["replicas"]
    return count


def test_the_chart_says_which_servers_are_too_old(api_server: ApiServer, namespace: Namespace) -> None:
    minor = int(re.sub(r"\D", "", api_server.request("GET", "/version")["minor"]))
    values = {"watchNamespace": namespace.name, "crds": {"install": False}}
    with helm().Config(kubeconfig_path=api_server.kubeconfig, namespace=namespace.name) as release:
        if minor >= 29:
            assert release.install(CHART, "modelyard", values, dry_run="server")["name"] == "modelyard"
        else:
            with pytest.raises(helm().HelmError, match=r"requires kubeVersion: >=1\.29"):
                release.install(CHART, "modelyard", values)


def needed() -> set[Access]:
    """What the operator does, from its own tables: all it looks at, and what its plans write."""
    access = {(verb, kind.group, kind.plural) for kind in LOOKED_AT for verb in ("get", "list", "watch")}
    access |= writes(("create", "patch", "delete"), *CHILDREN, RAY_JOBS, RAY_SERVICES)
    access |= writes(("create", "delete"), EVALUATION_JOBS)  # of rollout.evaluation; expired
    access |= writes(("delete",), TRAINING_JOBS)  # expired
    access |= writes(("patch",), RAY_CLUSTERS)  # replicas of a live one
    access |= writes(("create",), EVENTS)
    access |= {("patch", kind.group, f"{kind.plural}/status") for kind in (TRAINING_JOBS, EVALUATION_JOBS)}
    access |= {("patch", MODEL_DEPLOYMENTS.group, f"{MODEL_DEPLOYMENTS.plural}/status")}
    return access | writes(("update",), CONFIG_MAPS)  # held to be granted to a run's driver


def writes(verbs: tuple[str, ...], *kinds: Resource) -> set[Access]:
    """Each verb of each kind."""
    return {(verb, kind.group, kind.plural) for kind in kinds for verb in verbs}


NOT_GRANTED: list[Access] = [
    *[(verb, "", "secrets") for verb in ("get", "list", "watch", "create", "patch", "update", "delete")],
    *[(verb, "", "pods") for verb in ("create", "patch", "update", "delete", "deletecollection")],
    *[("create", "", f"pods/{door}") for door in ("exec", "attach", "portforward", "eviction")],
    ("create", "", "serviceaccounts/token"),
    *[(verb, "", "persistentvolumeclaims") for verb in ("create", "patch", "update", "delete")],
    *[
        (verb, "", kind)
        for kind in ("nodes", "namespaces", "persistentvolumes")
        for verb in ("list", "patch", "delete")
    ],
    *[(verb, "", "services") for verb in ("create", "patch", "update", "delete")],
    *[(verb, "modelyard.dev", "evaluationjobs") for verb in ("patch", "update")],
    *[(verb, "", "events") for verb in ("list", "delete")],
    *[("deletecollection", kind.group, kind.plural) for kind in LOOKED_AT],
    *[(verb, "modelyard.dev", "trainingjobs") for verb in ("create", "patch", "update")],
    *[(verb, "modelyard.dev", "modeldeployments") for verb in ("create", "patch", "update", "delete")],
    *[(verb, "ray.io", "rayclusters") for verb in ("create", "delete")],
    *[("patch", "ray.io", f"{kind}/status") for kind in ("rayjobs", "rayclusters", "rayservices")],
    *[(verb, "rbac.authorization.k8s.io", "roles") for verb in ("escalate", "bind", "update")],
    *[(verb, "rbac.authorization.k8s.io", "clusterroles") for verb in ("get", "create", "patch", "bind")],
    *[(verb, "rbac.authorization.k8s.io", "clusterrolebindings") for verb in ("get", "create", "patch")],
    ("get", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "apps", "deployments"),
    ("create", "batch", "jobs"),
    ("impersonate", "", "users"),
]


class Account:
    """The operator's ServiceAccount, as the server's authorizer sees it."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        self.user = f"system:serviceaccount:{namespace}:modelyard"
        self.groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]

    def may(self, access: Access, namespace: str, name: str = "") -> bool:
        """A SubjectAccessReview, which is what `kubectl auth can-i --as` asks."""
        verb, group, resource = access
        kind, _, sub = resource.partition("/")
        asked = {
            "verb": verb,
            "group": group,
            "resource": kind,
            "subresource": sub,
            "namespace": namespace,
            "name": name,
        }
        review = {"spec": {"user": self.user, "groups": self.groups, "resourceAttributes": asked}}
        answer = self.server.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        allowed: bool = answer["status"].get("allowed", False)
        return allowed

    def applies(self, namespace: str, item: dict[str, Any]) -> str:
        """What the server answers when the account itself creates an object."""
        words = ("create", f"--as={self.user}", *[f"--as-group={group}" for group in self.groups], "-n", namespace)
        done = self.server.run_kubectl(*words, "-f", "-", text=json.dumps(item))
        return done.stdout + done.stderr


@pytest.fixture(scope="module", params=["cluster", "namespaced"])
def account(request: pytest.FixtureRequest, api_server: ApiServer) -> Iterator[tuple[Account, str]]:
    """The account with exactly the roles that the chart renders, and a namespace that it watches."""
    with api_server.new_namespace() as home, api_server.new_namespace() as watched:
        values = {"watchNamespace": watched.name} if request.param == "namespaced" else {}
        kinds = ("ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
        given = [item for item in objects(values, namespace=home.name) if item["kind"] in kinds]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": given})
        api_server.kubectl("apply", "-f", "-", text=text)
        operator = Account(api_server, home.name)
        until_known(operator, watched.name)
        yield operator, watched.name
        api_server.kubectl("delete", "-f", "-", text=text)


def until_known(operator: Account, namespace: str) -> None:
    """The authorizer learns of roles by a watch of its own."""
    end = time.monotonic() + 10
    while not operator.may(("get", "modelyard.dev", "trainingjobs"), namespace):
        assert time.monotonic() < end, "the roles never took effect"
        time.sleep(0.05)


def test_all_that_the_operator_does_is_allowed(account: tuple[Account, str], request: pytest.FixtureRequest) -> None:
    operator, namespace = account
    assert [access for access in sorted(needed()) if not operator.may(access, namespace)] == []
    lease = ("coordination.k8s.io", "leases")
    place = namespace if "namespaced" in request.node.callspec.id else operator.namespace
    assert operator.may(("create", *lease), place)
    assert all(operator.may((verb, *lease), place, "modelyard-operator") for verb in ("get", "patch"))


def test_nothing_else_is_allowed(account: tuple[Account, str], request: pytest.FixtureRequest) -> None:
    operator, namespace = account
    assert [access for access in NOT_GRANTED if operator.may(access, namespace)] == []
    here, elsewhere = operator.namespace, namespace
    if "namespaced" in request.node.callspec.id:
        here, elsewhere = elsewhere, here
    assert not operator.may(("get", "coordination.k8s.io", "leases"), here, "kube-scheduler")
    assert not operator.may(("create", "coordination.k8s.io", "leases"), elsewhere)


def test_one_namespace_is_one_namespace(account: tuple[Account, str], request: pytest.FixtureRequest) -> None:
    operator, _ = account
    everywhere = "namespaced" not in request.node.callspec.id
    assert all(operator.may(access, "default") is everywhere for access in needed())


def test_the_rules_are_no_wider_than_the_need() -> None:
    """As sets: each verb of each resource in a rule is one that the operator uses."""
    (role,) = [item for item in objects({}) if item["metadata"]["name"] == f"modelyard-{NAMESPACE}" and "rules" in item]
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == needed()


def driver_role(*rules: dict[str, Any]) -> dict[str, Any]:
    """A Role as the operator makes it for a run."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"generateName": "driver-"},
        "rules": list(rules),
    }


def test_it_grants_a_driver_its_two_config_maps_and_can_grant_no_more(account: tuple[Account, str]) -> None:
    operator, namespace = account
    two = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "update"]}
    names = {"resourceNames": ["quickstart-1a2b3c4d-1-status", "modelyard-model-quickstart"]}
    assert "created" in operator.applies(namespace, driver_role({**two, **names}))
    more = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    assert "attempting to grant RBAC permissions not currently held" in operator.applies(
        namespace, driver_role(two, more)
    )
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"generateName": "driver-"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    assert "attempting to grant RBAC permissions not currently held" in operator.applies(namespace, binding)
