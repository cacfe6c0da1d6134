"""Outcomes for real: entrypoints and Serve applications run as processes of this machine, each on a Ray of its own.

A RayJob's entrypoint finds no RAY_ADDRESS, so the driver starts Ray itself. A cluster that is deleted takes its
processes along at once, without asking them, as deleted Pods do to a driver.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from modelyard_operator.cluster.api import Cluster
from modelyard_operator.kinds.objects import PODS, RAY_CLUSTERS, Json, ObjectKey, controller_uid, uid_of
from modelyard_operator.kinds.observations import Probe
from support.apiserver import ApiServer
from support.kuberay import pods
from support.kuberay.autoscaling import autoscale
from support.kuberay.pod_environment import LocalPod, local_pod, with_tests
from support.kuberay.rayjobs import JobInfo, Submitter
from support.kuberay.vocabulary import time_of

STARTING = timedelta(seconds=1)
STOP_SECONDS = 20.0
LOG_CHARACTERS = 2000  # of its end, in the job's message; Ray gives 20,000


@dataclass
class _Running:
    """A process with the end of its log; `ended` is noted when it is first seen."""

    cluster: str
    process: subprocess.Popen[bytes]
    log: Path
    begun: datetime
    ended: datetime | None = None

    def look(self, now: datetime) -> int | None:
        """The exit code, None while it runs."""
        code = self.process.poll()
        if code is not None and self.ended is None:
            self.ended = now
        return code

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_CHARACTERS:]

    def end(self) -> None:
        """The process and everything it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


@dataclass
class _Host(_Running):
    """A process that hosts Serve: see `serve_host`."""

    key: ObjectKey = field(kw_only=True)
    folder: Path = field(kw_only=True)
    config: str = field(kw_only=True)

    def state(self) -> dict[str, Any]:
        """What it last said: port, applications; empty before its first word."""
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError:
            return {}
        return state


@dataclass
class LocalRay:
    """See `outcomes.Ray`. `claims` gives the folder for each claim; `scratch` holds mounts and logs.

    `extras`: what the entrypoint submitted as the n-th (from 0) finds in its environment besides.
    """

    server: ApiServer
    scratch: Path
    claims: Mapping[str, Path]
    extras: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    jobs: dict[str, _Running] = field(default_factory=dict)
    hosts: dict[str, _Host] = field(default_factory=dict)

    async def advance(self, cluster: Cluster, now: datetime) -> None:
        """Processes go on by themselves; only the autoscaler has something to write."""
        for host in self.hosts.values():
            await autoscale(cluster, host.key, host.config)

    def pod_status(self, pod: Json, cluster: Json, now: datetime) -> dict[str, Any]:
        """Running after a second; a service's worker is ready when the Serve proxy answers."""
        if now < time_of(pod["metadata"]["creationTimestamp"]) + STARTING:
            return pods.starting(pod, now)
        serves = pod["metadata"]["labels"].get("ray.io/serve") is not None and not pods.is_head(pod)
        return pods.running(pod, now, ready=not serves or self.serves(cluster, now))

    async def submit(self, rayjob: Json, cluster: Json, job_id: str, now: datetime) -> None:
        """The entrypoint by a shell, in the head's environment."""
        if job_id in self.jobs:
            return
        folder = self.scratch / job_id
        pod = await self._local(cluster, folder)
        pod.environment.update(self.extras.get(len(self.jobs), {}))
        command = ["/bin/sh", "-c", "exec " + pod.told(rayjob["spec"]["entrypoint"])]
        self.jobs[job_id] = _Running(uid_of(cluster), *_start(command, pod, folder / "driver.log"), begun=now)

    async def _local(self, cluster: Json, folder: Path) -> LocalPod:
        folder.mkdir(parents=True)
        namespace = cluster["metadata"]["namespace"]
        listed = await asyncio.to_thread(self.server.request, "GET", f"/api/v1/namespaces/{namespace}/{PODS.plural}")
        mine = [pod for pod in listed["items"] if controller_uid(pod) == uid_of(cluster) and pods.is_head(pod)]
        return await asyncio.to_thread(local_pod, mine[0], self.server, folder, self.claims)

    def submitter(self, cluster: Json, job_id: str, now: datetime) -> Submitter | None:
        """`ray job submit` follows the log and ends with the job, a second later."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        code = job.look(now)
        if code is None or job.ended is None or now < job.ended + timedelta(seconds=1):
            return Submitter()
        return Submitter(job.ended + timedelta(seconds=1), failed=code != 0)

    def job(self, cluster: Json, job_id: str, now: datetime) -> JobInfo | None:
        """By the process: running, or ended with a code."""
        job = self.jobs.get(job_id)
        if job is None or job.cluster != uid_of(cluster):
            return None
        code = job.look(now)
        if code is None:
            return JobInfo("RUNNING", "Job is currently running.", job.begun)
        words = f"Job entrypoint command failed with exit code {code}, last available logs:\n{job.tail()}"
        status, message = ("FAILED", words) if code else ("SUCCEEDED", "Job finished successfully.")
        return JobInfo(status, message, job.begun, job.ended)

    async def stop(self, job_id: str) -> None:
        """As the dashboard does it: SIGTERM first."""
        job = self.jobs.get(job_id)
        if job is not None and job.process.poll() is None:
            job.process.send_signal(signal.SIGTERM)

    async def serve(self, cluster: Json, config: str, now: datetime) -> None:
        """Start a host for the cluster, or hand the running one another configuration."""
        uid = uid_of(cluster)
        if uid not in self.hosts:
            folder = self.scratch / cluster["metadata"]["name"]
            pod = await self._local(cluster, folder)
            command = [sys.executable, "-m", "support.kuberay.serve_host", str(folder)]
            process = _start(command, replace(pod, environment=with_tests(pod.environment)), folder / "serve.log")
            key = ObjectKey(RAY_CLUSTERS, cluster["metadata"]["namespace"], cluster["metadata"]["name"])
            self.hosts[uid] = _Host(uid, *process, begun=now, key=key, folder=folder, config=config)
        host = self.hosts[uid]
        host.config = config
        written = host.folder / "config.new"
        written.write_text(config)
        written.rename(host.folder / "config.json")

    def applications(self, cluster: Json, now: datetime) -> Mapping[str, Json] | None:
        """As the host last said; None when it has died."""
        host = self.hosts.get(uid_of(cluster))
        if host is None:
            return {}
        return None if host.look(now) is not None else host.state().get("applications", {})

    def serves(self, cluster: Json, now: datetime) -> bool:
        """Whether the host lives and its proxy has a port."""
        host = self.hosts.get(uid_of(cluster))
        return host is not None and host.look(now) is None and "port" in host.state()

    def address(self, cluster: Json) -> tuple[str, int] | None:
        """Where the Serve proxy of a cluster listens on this machine."""
        host = self.hosts.get(uid_of(cluster))
        port = host.state().get("port") if host is not None else None
        return ("127.0.0.1", port) if port is not None else None

    async def ask(self, cluster: Json, url: str, now: datetime) -> Probe:
        """A real request."""
        place = self.address(cluster)
        if place is None:
            return Probe(url, healthy=False, message="nothing listens")
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                answer = await client.get(f"http://{place[0]}:{place[1]}{httpx.URL(url).raw_path.decode()}")
            except httpx.HTTPError as error:
                return Probe(url, healthy=False, message=str(error))
        return Probe(
            url, answer.is_success, answer.headers.get("x-modelyard-version", ""), f"HTTP {answer.status_code}"
        )

    async def gone(self, cluster_uid: str) -> None:
        """Everything in a deleted cluster ends at once."""
        for running in (*self.jobs.values(), *self.hosts.values()):
            if running.cluster == cluster_uid and running.process.poll() is None:
                await asyncio.to_thread(running.end)
        self.hosts.pop(cluster_uid, None)

    def close(self) -> None:
        """End all processes."""
        for running in (*self.jobs.values(), *self.hosts.values()):
            running.end()


def _start(command: list[str], pod: LocalPod, log: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A process in a session of its own, its output in a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=pod.folder, env=pod.environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return process, log
