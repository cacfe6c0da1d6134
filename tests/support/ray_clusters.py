"""A Ray cluster as KubeRay makes one: a head without CPUs, a worker node, token authentication; processes of our own.

Each `ray start --block` is ended by its process id; nothing else on the machine is touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.workplaces import stopped_below

RAY = Path(sys.executable).parent / "ray"
START_SECONDS = 120.0


@dataclass(frozen=True)
class RayCluster:
    """`environment` is what a job's driver gets from Ray; `processes` are the head and the worker node."""

    environment: Mapping[str, str]
    processes: tuple[subprocess.Popen[bytes], ...]

    def is_up(self) -> bool:
        """Whether all its nodes run."""
        return all(process.poll() is None for process in self.processes)

    def resume_stopped(self) -> None:
        """Let processes of the cluster go on that were stopped (SIGSTOP)."""
        for process in self.processes:
            for frozen in stopped_below(process.pid):
                frozen.resume()


@contextlib.contextmanager
def ray_cluster(*, cpus: int = 2, environment: Mapping[str, str] | None = None) -> Iterator[RayCluster]:
    """A head with no CPU and one worker node with `cpus`, on loopback; its processes see `environment` too."""
    address = f"127.0.0.1:{_free_port()}"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        seen = {**token, **(environment or {})}
        head = _node(seen, Path(folder) / "h", "--head", f"--port={address.split(':')[1]}", "--num-cpus=0")
        processes = [head]
        try:
            _await_port(address, head)
            processes.append(_node(seen, Path(folder) / "w", f"--address={address}", f"--num-cpus={cpus}"))
            yield RayCluster({**token, "RAY_ADDRESS": address}, tuple(processes))
        finally:
            for process in reversed(processes):
                _end(process)


def _node(environment: Mapping[str, str], folder: Path, *words: str) -> subprocess.Popen[bytes]:
    temp = ["--include-dashboard=false", f"--temp-dir={folder}"] if "--head" in words else []
    return subprocess.Popen(
        [RAY, "start", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats", *temp, *words],
        env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a node with all that it started; one that takes its time is killed, its data is throw-away."""
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    _, left = psutil.wait_procs(started, timeout=5)
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(10)


def _await_port(address: str, process: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError(f"no Ray head at {address}: exit code {process.poll()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
