"""Ray Serve: replicas of the gateway, started, watched, restarted and drained. The only file of serve that names Ray.

On one machine Serve's own proxy is off: replicas share the listening socket (docs/decisions/0002-serving-proxy.md says
why). On a cluster (`cluster_application`) replicas are in many pods, and Serve's proxies stand before them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.serve import cluster
from modelyard.serve.gateway import build_app
from modelyard.serve.meters import share_metrics
from modelyard.serve.replica import Replica, ReplicaPlan
from modelyard.serve.service import Served
from modelyard.serve.sockets import SocketDoor, listen, receive_listener, url_of
from modelyard.spec import ModelDeployment
from modelyard.spec.quantities import quantity
from modelyard.yard.scratch import close_scratch, open_scratch

APPLICATION = "modelyard"
DRAIN_SECONDS = 30.0
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_QUIET = {"log_level": "WARNING", "enable_access_log": False}


@dataclass
class Serving:
    """A running deployment on this machine. `stop` ends it; the URL answers until then."""

    url: str
    version: str
    log_folder: Path
    seconds: dict[str, float]
    _door: SocketDoor
    _folder: Path
    _stopped: bool = field(default=False)

    def wait(self) -> None:
        """Until something goes wrong for good: raises ModelyardError then. A signal handler may raise through it."""
        from ray import serve

        while True:
            time.sleep(1.0)
            try:
                serve.status()
            except Exception as error:  # Ray's own processes have died: nothing restarts replicas any more
                words = f"Ray has stopped under the server: {type(error).__name__}"
                raise ModelyardError(words, hint=f"logs: {self.log_folder}") from error

    def stop(self, *, keep_logs: bool = False) -> None:
        """Drain, stop all processes; the scratch folder goes too unless the logs are wanted. Twice is fine."""
        import ray
        from ray import serve

        if self._stopped:
            return
        self._stopped = True
        try:
            if ray.is_initialized():
                serve.delete(APPLICATION)
        finally:
            ray.shutdown()
            self._door.close()
            close_scratch(self._folder, keep=keep_logs)


def start(
    deployment: ModelDeployment,
    folder: Path,
    served: Served,
    *,
    progress: Callable[[str], None] = lambda _: None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Serving:
    """Serve a verified model folder as `deployment` says; returns when the URL answers.

    Call it from a thread that outlives the serving: Ray's processes die with the thread that started them. Raises
    InvalidInputError for a port in use before anything is started, ModelyardError naming the logs when a replica
    cannot start.
    """
    began = time.monotonic()
    seconds: dict[str, float] = {}
    spec = deployment.spec
    listener = listen(spec.api.host, spec.api.port)
    url = url_of(listener)
    scratch = open_scratch(_short_folder())
    serving = Serving(url, served.version, scratch / "ray", seconds, SocketDoor(listener, scratch / "door"), scratch)
    plan = _plan(deployment, folder, served, drain_seconds)
    try:
        progress("starting Ray")
        _start_ray(scratch, deployment)
        seconds["ray"] = time.monotonic() - began
        progress(f"loading {served.version}")
        _deploy(deployment, plan, scratch)
        seconds["ready"] = time.monotonic() - began
    except BaseException as error:
        serving.stop(keep_logs=isinstance(error, ModelyardError))
        raise
    return serving


def _short_folder() -> str:
    """Where scratch folders go; a Unix socket's path holds 107 bytes, of which Ray's own part takes about 70."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 24 else "/tmp"


class _Placed:
    """A replica as Ray Serve sees it."""

    def __init__(self, plan: ReplicaPlan, scratch: str) -> None:
        share_metrics(Path(scratch) / "metrics")
        try:
            self._replica = Replica(plan, receive_listener(Path(scratch) / "door"))
        except Exception as error:
            cause = error if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
            (Path(scratch) / "failure").write_text(str(cause))
            raise

    def check_health(self) -> None:
        self._replica.check()

    def __del__(self) -> None:
        if hasattr(self, "_replica"):
            self._replica.close()


def _plan(deployment: ModelDeployment, folder: Path, served: Served, drain_seconds: float) -> ReplicaPlan:
    engine, resources = deployment.spec.engine, deployment.spec.resources
    return ReplicaPlan(
        folder=str(folder.resolve()),
        served=served,
        precision=engine.precision,
        device="cuda" if resources.gpu else "cpu",
        max_sequences=engine.max_sequences,
        max_batch_tokens=engine.max_batch_tokens,
        max_sequence_length=engine.max_sequence_length,
        threads=max(1, int(quantity(resources.cpu))),
        drain_seconds=drain_seconds,
        shared=(deployment.spec.replicas or 1) > 1,
    )


def _start_ray(scratch: Path, deployment: ModelDeployment) -> None:
    quiet = {**_ENVIRONMENT, **({"DS_ACCELERATOR": "cuda"} if deployment.spec.resources.gpu else {})}
    os.environ.update({key: value for key, value in quiet.items() if key not in os.environ})
    # A token of this cluster's own: Ray's default needs a writable HOME. Ray reads the mode when it is imported.
    if "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    importing = threading.Thread(target=lambda: __import__("ray.serve"), daemon=True)
    importing.start()  # 2 s of imports while Ray's processes start
    spec = deployment.spec
    replicas = spec.replicas or 1
    with _keeping_signal_handlers():
        ray.init(
            "local",
            # Ray starts an idle process for each CPU at once: one for Serve's controller beside the replicas'.
            num_cpus=1 + math.ceil(quantity(spec.resources.cpu) * replicas),
            num_gpus=spec.resources.gpu * replicas,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(scratch / "ray"),
        )
    importing.join()


@contextmanager
def _keeping_signal_handlers() -> Iterator[None]:
    """Ray puts handlers of its own for SIGTERM (one prints a stack trace): the caller's come back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deploy(deployment: ModelDeployment, plan: ReplicaPlan, scratch: Path) -> None:
    from ray import serve
    from ray.serve.schema import LoggingConfig

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="Disabled", logging_config=LoggingConfig(**_QUIET))
    spec = deployment.spec
    placed = serve.deployment(
        _Placed,
        name="replica",
        num_replicas=spec.replicas or 1,
        ray_actor_options={"num_cpus": float(quantity(spec.resources.cpu)), "num_gpus": spec.resources.gpu},
        graceful_shutdown_wait_loop_s=0.05,
        graceful_shutdown_timeout_s=plan.drain_seconds + 5,
        health_check_period_s=2,
        max_constructor_retry_count=1,
        logging_config=_QUIET,
    )
    try:
        serve.run(placed.bind(plan, str(scratch)), name=APPLICATION, route_prefix=None)
    except RuntimeError as error:
        cause = scratch / "failure"
        words = cause.read_text() if cause.exists() else str(error)
        raise ModelyardError(f"the replica cannot start: {words}", hint=f"logs: {scratch / 'ray'}") from error


def cluster_application(args: dict[str, Any]) -> Any:
    """Serve's application on a cluster: the import path and arguments that the operator writes into a RayService.

    `args` is what `modelyard.serve.cluster.ClusterArguments` reads. Scale, resources and the number of requests that
    a replica takes stand in the config, beside this. Raises InvalidInputError, which Serve tells as DEPLOY_FAILED.
    """
    from ray import serve

    arguments = cluster.read_arguments(args)
    answering = serve.ingress()(_Answering)
    return serve.deployment(
        answering,
        name="replica",
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=DRAIN_SECONDS + 5,
        health_check_period_s=5,
        max_constructor_retry_count=3,
        logging_config=_QUIET,
    ).bind(arguments.model_dump(mode="json", by_alias=True))


class _Answering:
    """A replica behind Serve's proxies: the gateway as an ASGI application on Serve's own event loop."""

    async def __init__(self, arguments: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        plan = await asyncio.to_thread(lambda: cluster.verified_plan(cluster.read_arguments(arguments)))
        self._service = await cluster.open_service(plan)

    def __serve_build_asgi_app__(self) -> Any:
        return build_app(self._service)

    def check_health(self) -> None:
        cluster.check(self._service)

    async def __del__(self) -> None:
        if hasattr(self, "_service"):
            await self._service.drain(0)  # Serve has waited for what ran
