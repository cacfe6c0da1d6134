"""A thousand TrainingJobs at once on a real API server: how soon their RayJobs exist, and what the operator costs.

    python benchmarks/operator_scale.py                 # 1,000 jobs
    python benchmarks/operator_scale.py --jobs 5000

The operator is a process of its own with its default four workers; nothing plays KubeRay, so every job stays at its
start. Measured: seconds from the last creation until every RayJob exists; the operator's memory; how long a look at a
job takes, its calls included; then, for a minute in which nobody changes anything, the writes that reach the server.
Fails (exit 1) when a bar of 1,000 jobs is missed: 60 s, 200 MiB, 0 writes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from modelyard.spec import parse, to_dict
from modelyard_operator.cluster.rest import RestCluster, open_rest
from modelyard_operator.kinds.objects import RAY_JOBS
from support.apiserver import ApiServer, running
from support.manifests import TRAINING

MOST_SECONDS, MOST_BYTES = 60.0, 200 * 2**20
AT_ONCE = 16  # creations in flight
SETTLE_SECONDS = 20.0  # after the last RayJob, for Events and statuses that are on their way
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
RUNTIME = {
    "image": "registry.example.com/team/platform:0.1.0",
    "env": [{"name": "HF_HOME", "value": "/mnt/modelyard/hf"}],
    "labels": {"team": "language", "cost-centre": "4711"},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "training",
    "startDeadlineSeconds": 1800,
    "ttlSecondsAfterFinished": 86400,
}


@dataclass(frozen=True)
class Figures:
    """What came out. Times are seconds, sizes bytes; `writes` and `reads` are calls of the operator."""

    jobs: int
    manifest_bytes: int
    creation: float
    until_all: float
    first: float
    memory_now: int
    memory_peak: int
    looks: int
    look_p50: float
    look_p99: float
    writes: int
    cpu: float
    idle_seconds: float
    idle_writes: int
    idle_server_writes: int
    idle_cpu: float
    cpu_of_all: dict[str, float]


@cache
def template() -> dict[str, Any]:
    """A manifest with every common member written out, defaults too."""
    (manifest,) = parse(TRAINING, origin="job.yaml")
    item = to_dict(manifest, defaults=True)
    spec = {**item["spec"], "runtime": RUNTIME, "storage": {"claimName": "yard"}}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "spec": spec}


def full_job(number: int, namespace: str) -> dict[str, Any]:
    """A TrainingJob of its own name."""
    metadata = {"name": f"job-{number:05d}", "namespace": namespace, "labels": {"team": "language"}}
    return {**template(), "metadata": metadata}


@contextmanager
def operating(
    server: ApiServer, namespace: str, folder: Path, *more: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An operator; yields its process and the address of its metrics."""
    log = folder / "operator.log"
    words = [f"--kubeconfig={server.kubeconfig}", f"--namespace={namespace}", "--metrics-port=0", *more]
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "modelyard_operator", *words], stdout=out, stderr=out)
    try:
        yield process, f"http://127.0.0.1:{_port(log)}/metrics"
    finally:
        process.terminate()
        process.wait(30)


def _port(log: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if '"started"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.1)
    raise RuntimeError(f"the operator did not start: {log.read_text()[-2000:]}")


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of Prometheus' text format."""
    for name, labels, value in _SAMPLE.findall(text):
        yield name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)


def scraped(url: str) -> str:
    """The operator's metrics; making them takes a while when it has thousands of jobs to tell of."""
    return httpx.get(url, timeout=60).text


def writes(text: str) -> int:
    """Calls of the operator that change something, Events included."""
    verbs = ("create", "patch", "delete")
    found = (value for name, labels, value in samples(text) if name == "modelyard_operator_api_calls_total"
             and labels["verb"] in verbs)  # fmt: skip
    return int(sum(found))


def server_writes(server: ApiServer) -> int:
    """Writes that the API server has answered, by its own count, of the kinds and verbs that the operator uses.

    Left out is what belongs to the server's own controllers: tokens of ServiceAccounts, leases.
    """
    text = server.kubectl("get", "--raw", "/metrics", timeout_seconds=60)
    groups = ("modelyard.dev", "ray.io", "", "rbac.authorization.k8s.io", "networking.k8s.io")
    theirs = ("tokenreviews", "subjectaccessreviews", "leases", "endpoints", "secrets")
    return int(
        sum(
            value
            for name, labels, value in samples(text)
            if name == "apiserver_request_total"
            and labels.get("verb") in ("POST", "PATCH", "DELETE")
            and labels.get("group") in groups
            and labels.get("resource") not in theirs
        )
    )


def look_quantile(text: str, part: float) -> tuple[int, float]:
    """How many looks there were, and the quantile of their seconds, interpolated within its bucket."""
    buckets = sorted(
        (float(labels["le"]), value)
        for name, labels, value in samples(text)
        if name == "modelyard_operator_reconcile_seconds_bucket" and labels["kind"] == "TrainingJob"
    )
    wanted, below, before = buckets[-1][1] * part, 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            return int(buckets[-1][1]), below + (bound - below) * (wanted - before) / max(count - before, 1)
        below, before = bound, count
    return int(buckets[-1][1]), below


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: now, and at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
    assert now is not None
    assert peak is not None
    return int(now[1]) * 1024, int(peak[1]) * 1024


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_servers(folder: str) -> dict[str, float]:
    """CPU seconds of the API server's processes, by name."""
    found = {}
    for process in psutil.process_iter(["name", "cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()) and "python" not in process.info["name"]:
            found[process.info["name"]] = round(cpu_seconds(process.pid), 1)
    return found


async def created(cluster: RestCluster, namespace: str, jobs: int) -> None:
    """Create the jobs, some at a time."""
    numbers = iter(range(jobs))

    async def some() -> None:
        for number in numbers:
            await cluster.create(full_job(number, namespace))

    async with asyncio.TaskGroup() as parts:
        for _ in range(AT_ONCE):
            parts.create_task(some())


async def num_rayjobs(cluster: RestCluster, namespace: str) -> int:
    """How many there are, without reading them all: the pages of a list, one object long, tell how many remain."""
    listed = await cluster._call(
        "list", "GET", f"/apis/{RAY_JOBS.api_version}/namespaces/{namespace}/{RAY_JOBS.plural}", {"limit": "1"}
    )
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount") or 0)


async def measured(
    server: ApiServer, namespace: str, jobs: int, idle_seconds: float, folder: Path, *words: str
) -> Figures:
    """The whole of it."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "yard", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    async with open_rest(server.kubeconfig) as cluster:
        await cluster.create(claim)
        with operating(server, namespace, folder, *words) as (process, url):
            began = time.monotonic()
            creating = asyncio.create_task(created(cluster, namespace, jobs))
            first = 0.0
            while not first:
                await asyncio.sleep(0.2)
                first = time.monotonic() - began if await num_rayjobs(cluster, namespace) else 0.0
            await creating
            done = time.monotonic()
            while await num_rayjobs(cluster, namespace) < jobs:
                await asyncio.sleep(0.5)
            until_all = time.monotonic() - done
            await asyncio.sleep(SETTLE_SECONDS)
            cpu_of_all = {**cpu_of_servers(server.folder), "benchmark": round(time.process_time(), 1)}
            busy = await asyncio.to_thread(scraped, url)
            counted, used = await asyncio.to_thread(server_writes, server), cpu_seconds(process.pid)
            await asyncio.sleep(idle_seconds)
            idle_cpu = cpu_seconds(process.pid) - used
            counted = await asyncio.to_thread(server_writes, server) - counted
            idle = await asyncio.to_thread(scraped, url)
            now, peak = memory(process.pid)
    looks, p50 = look_quantile(busy, 0.5)
    return Figures(
        jobs, len(json.dumps(full_job(0, namespace))), done - began, until_all, first, now, peak, looks, p50,
        look_quantile(busy, 0.99)[1], writes(busy), used, idle_seconds, writes(idle) - writes(busy), counted, idle_cpu,
        cpu_of_all,
    )  # fmt: skip


def missed(figures: Figures) -> list[str]:
    """Bars that were missed, in words; they are those of 1,000 jobs."""
    found = []
    if figures.until_all > MOST_SECONDS:
        found.append(f"all RayJobs after {figures.until_all:.1f} s, not {MOST_SECONDS:.0f}")
    if figures.memory_peak > MOST_BYTES:
        found.append(f"{figures.memory_peak / 2**20:.0f} MiB, not {MOST_BYTES / 2**20:.0f}")
    if figures.idle_writes or figures.idle_server_writes:
        found.append(f"{figures.idle_writes} writes of the operator and {figures.idle_server_writes} in all while idle")
    return found


def main() -> int:
    """Run it and print the figures; 1 when a bar of 1,000 jobs is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4, help="of the operator, its default: 4")
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with running() as server, server.new_namespace() as namespace, tempfile.TemporaryDirectory() as folder:
        load = os.getloadavg()[0]
        figures = asyncio.run(
            measured(
                server,
                namespace.name,
                arguments.jobs,
                arguments.idle_seconds,
                Path(folder),
                f"--workers={arguments.workers}",
            )
        )
    print(json.dumps({**asdict(figures), "load_before": load, "load_after": os.getloadavg()[0]}, indent=1))
    bars = missed(figures)
    print("\n".join(bars) or "every bar is met")
    return int(bool(bars) and arguments.jobs <= 1000)


if __name__ == "__main__":
    sys.exit(main())
