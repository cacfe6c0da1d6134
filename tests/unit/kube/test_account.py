"""When a process takes itself for a pod of the operator's, and for which."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import UsageError
from modelyard.kube import ForbiddenError, PodAccount, in_cluster

POD = {"MODELYARD_NAMESPACE": "team", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


@pytest.mark.parametrize(
    ("environment", "server"),
    [
        (POD, "https://10.0.0.1:6443"),
        ({**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:6443"),
        ({"MODELYARD_NAMESPACE": "team", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "https://10.0.0.1:443"),
    ],
)
def test_where_the_server_is(environment: dict[str, str], server: str) -> None:
    account = in_cluster(environment)
    assert account is not None
    assert (account.server, account.namespace) == (server, "team")
    assert account.authority == Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")


def test_somebody_elses_pod_is_a_machine_like_any_other() -> None:
    assert in_cluster({name: value for name, value in POD.items() if name.startswith("KUBERNETES")}) is None
    assert in_cluster({**POD, "MODELYARD_NAMESPACE": ""}) is None


def test_a_namespace_without_a_cluster_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="KUBERNETES_SERVICE_HOST is not"):
        in_cluster({"MODELYARD_NAMESPACE": "team"})


def test_the_token_is_read_each_time(tmp_path: Path) -> None:
    account = PodAccount("https://10.0.0.1", tmp_path, "team")
    with pytest.raises(ForbiddenError, match="cannot read the ServiceAccount's token"):
        _ = account.token
    for token in ("one", "two"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert account.token == token
