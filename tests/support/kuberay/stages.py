"""The stand-in and the operator at work on a real API server: the one in a thread, the other as the process it is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelyard_operator.cluster.rest import open_rest
from support.accounts import operators_kubeconfig
from support.apiserver import Namespace
from support.kuberay.local_ray import LocalRay
from support.kuberay.network import services
from support.kuberay.pod_environment import with_tests
from support.kuberay.standin import StandIn

STOP_SECONDS = 20


@dataclass
class LocalCluster:
    """KubeRay's stand-in in a namespace; `address` is where its Services answer (see `cluster_dns`)."""

    ray: LocalRay
    address: str = ""
    standin: StandIn | None = None


@contextmanager
def local_kuberay(
    namespace: Namespace, scratch: Path, claims: Mapping[str, Path], extras: Mapping[int, Mapping[str, str]]
) -> Iterator[LocalCluster]:
    """Play KubeRay, the nodes and the network in a namespace as long as the `with` lasts; its processes end with it."""
    made = LocalCluster(LocalRay(namespace.server, scratch, claims, extras))
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    faults: list[BaseException] = []

    def live() -> None:
        try:
            loop.run_until_complete(_play(made, namespace, stop, ready))
        except BaseException as error:
            faults.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=live, name="kuberay", daemon=True)
    thread.start()
    try:
        ready.wait(STOP_SECONDS)
        yield made
    finally:
        with suppress(RuntimeError):  # it has ended by a fault
            loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_SECONDS)
        made.ray.close()
    assert not faults, faults


async def _play(made: LocalCluster, namespace: Namespace, stop: asyncio.Event, ready: threading.Event) -> None:
    async with open_rest(namespace.server.kubeconfig) as cluster:
        standin = StandIn(cluster, made.ray, namespace=namespace.name)

        async def resolve(host: str) -> tuple[str, int] | None:
            found = await standin.behind(host)
            return made.ray.address(found) if found is not None else None

        async with services(resolve) as address:
            made.address, made.standin = address, standin
            ready.set()
            await standin.run(stop, every_seconds=0.5)


@contextmanager
def operator(namespace: Namespace, address: str, log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`modelyard-operator run` for a namespace, as a process, with exactly the roles that the chart gives it.

    Its JSON log goes to a file. It must stop when asked, and nothing may have been refused it.
    """
    config = operators_kubeconfig(namespace, log.with_suffix(".kubeconfig"))
    command = [
        sys.executable, "-m", "support.kuberay.cluster_dns", address, "modelyard_operator", "run",
        "--kubeconfig", str(config), "--namespace", namespace.name, "--metrics-port", "0", *words,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=with_tests(os.environ), stdout=output, stderr=output)
    try:
        _started(process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    told = log.read_text()
    assert code == 0, told[-3000:]
    assert "ForbiddenError" not in told
    assert "forbidden" not in told, [line for line in told.splitlines() if "forbidden" in line]


def _started(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for its first word: before that a SIGTERM would just kill it."""
    end = time.monotonic() + STOP_SECONDS
    while '"started"' not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, "the operator says nothing"
        time.sleep(0.05)
