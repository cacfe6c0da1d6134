"""Hosts a RayCluster's Serve applications on this machine: `python -m support.kuberay.serve_host FOLDER`.

FOLDER/config.json is what KubeRay would PUT to the dashboard; it is deployed anew whenever it changes.
FOLDER/state.json says the port of the HTTP proxy, the statuses of applications as KubeRay's status has them, and how
many replicas run.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from support.kuberay.lifelines import die_with_parent

REPLICA_RESOURCE = "modelyard_replica"  # what a worker Pod of ours has one of
MOST_REPLICAS = 4
LOOK_SECONDS = 0.2


def main(folder: Path) -> None:
    """Deploy and watch, until killed."""
    die_with_parent()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    port, config = _free_port(), ""
    with tempfile.TemporaryDirectory(prefix="serve-", dir="/tmp") as scratch:  # a socket's path holds 107 bytes
        ray.init(
            "local", num_cpus=MOST_REPLICAS, resources={REPLICA_RESOURCE: MOST_REPLICAS}, include_dashboard=False,
            _node_ip_address="127.0.0.1", _temp_dir=scratch,
        )  # fmt: skip
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        while True:
            wished = (folder / "config.json").read_text()
            if wished != config:
                schema = {key: value for key, value in json.loads(wished).items() if key == "applications"}
                _get_global_client().deploy_apps(ServeDeploySchema.model_validate(schema))
                config = wished
            status = serve.status()
            state = {"port": port, "applications": _statuses(status), "replicas": _replicas(status)}
            _write(folder / "state.json", state)
            time.sleep(LOOK_SECONDS)


def _statuses(status: Any) -> dict[str, Any]:
    return {
        name: {
            "status": str(application.status.value),
            "message": application.message,
            "serveDeploymentStatuses": {
                deployment: {"status": str(overview.status.value), "message": overview.message}
                for deployment, overview in application.deployments.items()
            },
        }
        for name, application in status.applications.items()
    }


def _replicas(status: Any) -> dict[str, int]:
    """How many replicas of each deployment run."""
    return {
        f"{name}/{deployment}": overview.replica_states.get("RUNNING", 0)
        for name, application in status.applications.items()
        for deployment, overview in application.deployments.items()
    }


def _write(path: Path, state: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state))
    new.rename(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number


if __name__ == "__main__":
    main(Path(sys.argv[1]))
