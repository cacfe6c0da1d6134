"""Run as a program: a local Ray that takes Serve configs as KubeRay's dashboard client sends them, one line each.

    python -m support.serve_node TEMP_FOLDER PORT      {"applications": […], …} per line on stdin

It answers each config with a line of JSON once its applications have come to rest: {name: {status, message, …}}.
Proxies listen on loopback at PORT instead of where the config says, since Serve takes that only when it starts. The
end of stdin stops it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import time
from typing import Any

RESTING = {"RUNNING", "DEPLOY_FAILED", "UNHEALTHY"}
PATIENCE_SECONDS = 150


def main(folder: str, port: int) -> None:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_SERVE_LOG_TO_STDERR": "0"}
    import ray
    from ray import serve

    ray.init(
        "local", num_cpus=2, resources={"modelyard_replica": 2}, include_dashboard=False, log_to_driver=False,
        logging_level=logging.ERROR, _node_ip_address="127.0.0.1", _temp_dir=folder,
    )  # fmt: skip
    try:
        for line in sys.stdin:
            deploy(json.loads(line), port)
            print(json.dumps(rested()), flush=True)
    finally:
        serve.shutdown()
        ray.shutdown()


def deploy(config: dict[str, Any], port: int) -> None:
    """As the dashboard's PUT /api/serve/applications/ does it."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(config)
    serve.start(proxy_location=schema.proxy_location, http_options={"host": "127.0.0.1", "port": port})
    _get_global_client().deploy_apps(schema)
    time.sleep(0.5)  # the controller notes that it deploys before it tells it


def as_kuberay_tells(app: Any) -> dict[str, Any]:
    """`applicationStatuses` of a RayService."""
    deployments = {
        name: {"status": str(one.status.value), "message": one.message} for name, one in app.deployments.items()
    }
    return {"status": str(app.status.value), "message": app.message, "serveDeploymentStatuses": deployments}


def rested() -> dict[str, dict[str, Any]]:
    """Statuses, when none is on its way any more."""
    from ray import serve

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = serve.status().applications
        told = {name: as_kuberay_tells(app) for name, app in found.items()}
        if (told and {app["status"] for app in told.values()} <= RESTING) or time.monotonic() > deadline:
            return told
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
