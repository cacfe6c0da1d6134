"""The gateway's price: p50 of a one-token completion over the engine called directly, by the way requests come in.

Each way runs in a Ray of its own; all stand at once and are asked in turn, so that a noisy machine meets all alike.

    python benchmarks/serve_gateway.py            # starts five processes, about two minutes
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(RAY_USAGE_STATS_ENABLED="0", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", DS_ACCELERATOR="cpu")
MANIFEST = """\
apiVersion: modelyard.dev/v1alpha1
kind: ModelDeployment
metadata: {name: bench}
spec: {model: ./model, api: {port: 0}}
"""
PROMPT = "The loop is the table"
WAYS = {  # name: environment that chooses it
    "uvicorn": None,  # the gateway alone: no Ray
    "listener": None,  # `modelyard serve`: the replica listens itself; Serve's proxy is off
    "proxy": {},
    "direct": {"RAY_SERVE_ENABLE_DIRECT_INGRESS": "1"},
    "haproxy": {"RAY_SERVE_ENABLE_DIRECT_INGRESS": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"},
}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", choices=WAYS)
    arguments.add_argument("--model", type=Path)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--rounds", type=int, default=150)
    arguments.add_argument("--ways", default=",".join(WAYS))
    given = arguments.parse_args()
    if given.host:
        host(given.host, given.model, given.port)
    else:
        compare(given.model, given.rounds, given.ways.split(","))


def compare(model: Path | None, rounds: int, ways: list[str]) -> None:
    """Start all ways, ask them in turn, print the table."""
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as scratch:
        folder = model or _tiny(Path(scratch) / "model")
        hosts, urls = {}, {}
        try:
            for place, way in enumerate(ways):
                start = time.monotonic()
                hosts[way] = _start(way, folder, 18700 + place)
                assert hosts[way].stdout is not None
                while True:
                    line = hosts[way].stdout.readline()
                    if not line:
                        raise SystemExit(f"{way} did not start:\n{(folder.parent / f'{way}.log').read_text()[-3000:]}")
                    if line.startswith('{"event": "ready"'):
                        break
                urls[way] = json.loads(line)["url"]
                print(f"{way}: up in {time.monotonic() - start:.1f} s", file=sys.stderr)
            asks: dict[str, Any] = {"engine": _engine(folder)}
            asks |= {way: _http(url) for way, url in urls.items()}
            whole, first = _measure(asks, rounds)
        finally:
            for process in hosts.values():
                process.terminate()
            for process in hosts.values():
                process.wait(60)
    base = statistics.median(whole["engine"])
    print("| way in | whole p50 ms | p90 | over the engine ms | stream: first token p50 ms | CPUs' load |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way in asks:
        p50, p90 = statistics.median(whole[way]), statistics.quantiles(whole[way], n=10)[-1]
        print(
            f"| {way} | {1e3 * p50:.2f} | {1e3 * p90:.2f} | {1e3 * (p50 - base):.2f} | "
            f"{1e3 * statistics.median(first[way]):.2f} | {os.getloadavg()[0]:.1f} |"
        )


def _measure(asks: dict[str, Any], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    whole: dict[str, list[float]] = {way: [] for way in asks}
    first: dict[str, list[float]] = {way: [] for way in asks}
    for turn in range(rounds + 10):
        for way, ask in asks.items():
            seconds, ttft = ask()
            if turn >= 10:  # the first ten warm connections and caches
                whole[way].append(seconds)
                first[way].append(ttft)
    return whole, first


def _engine(folder: Path) -> Any:
    import torch

    from modelyard.infer import Engine, Request, SamplingParams, open_model

    torch.set_num_threads(1)
    model = open_model(folder)
    engine = Engine(model)

    def one(max_tokens: int) -> float:
        start = time.perf_counter()
        engine.add(Request("0", tuple(model.encode_prompt(PROMPT)), SamplingParams(max_tokens=max_tokens)))
        first = 0.0
        while engine.has_work:
            engine.step()
            first = first or time.perf_counter() - start
        return first

    def ask() -> tuple[float, float]:
        return one(1), one(4)

    return ask


def _http(url: str) -> Any:
    import httpx

    client = httpx.Client(timeout=60)
    body = {"model": "bench", "prompt": PROMPT, "max_tokens": 1, "temperature": 0}

    def ask() -> tuple[float, float]:
        start = time.perf_counter()
        client.post(f"{url}/v1/completions", json=body).raise_for_status()
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        ttft = 0.0
        with client.stream("POST", f"{url}/v1/completions", json={**body, "max_tokens": 4, "stream": True}) as answer:
            for _ in answer.iter_raw():
                ttft = ttft or time.perf_counter() - start
        return seconds, ttft

    return ask


def _start(way: str, folder: Path, port: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "MODELYARD_BENCH_MODEL": str(folder), **(WAYS[way] or {})}
    command = [sys.executable, __file__, "--host", way, "--model", str(folder), "--port", str(port)]
    if way == "haproxy":
        environment |= _haproxy_places(tempfile.mkdtemp(prefix="h-", dir="/tmp"), port)
    if way == "listener":
        (folder.parent / "deployment.yaml").write_text(MANIFEST)
        command = [sys.executable, "-m", "modelyard", "serve", "-f", "deployment.yaml", "-o", "json"]
    with (folder.parent / f"{way}.log").open("w") as log:
        return subprocess.Popen(
            command, env=environment, cwd=folder.parent, stdout=subprocess.PIPE, stderr=log, text=True
        )


def _haproxy_places(scratch: str, port: int) -> dict[str, str]:
    """Its files and ports are fixed unless told; a Unix socket's path may hold 97 bytes, of which it adds 65."""
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{scratch}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{scratch}/a.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": scratch,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{scratch}/state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{scratch}/m.sock",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(port + 100),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": "31500",
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": "31600",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    }


def _tiny(folder: Path) -> Path:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.tiny_models import write_tiny_model

    return write_tiny_model(folder)


def host(way: str, folder: Path, port: int) -> None:
    """One way in, until SIGTERM."""
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if way == "uvicorn":
        asyncio.run(_serve_alone(folder, port))
        return
    import ray
    from ray import serve

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    door = serve.deployment(num_replicas=1, max_ongoing_requests=1000)(_proxied())
    try:
        serve.run(door.bind(str(folder), port), route_prefix="/", name="bench")
    except RuntimeError:
        print(serve.status(), file=sys.stderr)
        raise
    if way == "direct":
        port = _replica_port()
    _tell_ready(port)
    try:
        while True:
            time.sleep(3600)
    finally:
        serve.shutdown()
        ray.shutdown()


def _replica_port() -> int:
    import ray
    from ray.serve._private.api import _get_global_client  # the benchmark alone looks here

    groups = ray.get(_get_global_client()._controller.get_target_groups.remote())
    return next(target.port for group in groups for target in group.targets if target.port)


def _open(folder: str) -> Any:
    import torch

    from modelyard.infer import open_model
    from modelyard.serve.meters import Meters
    from modelyard.serve.service import Served, Service

    torch.set_num_threads(1)
    return Service(Served("bench", "bench@1"), Meters("bench")), open_model(Path(folder))


async def _serve_alone(folder: Path, port: int) -> None:
    import uvicorn

    from modelyard.serve.gateway import build_app

    service, model = _open(str(folder))
    service.open(model)
    server = uvicorn.Server(uvicorn.Config(build_app(service), host="127.0.0.1", port=port, log_level="error"))
    _tell_ready(port)
    await server.serve()


def _tell_ready(port: int) -> None:
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"}), flush=True)


def _proxied() -> type:
    """The same application as Serve's ingress, behind whatever proxy the environment chose."""
    from contextlib import asynccontextmanager

    from ray import serve

    def build() -> Any:
        from modelyard.serve.gateway import build_app

        service, model = _open(os.environ["MODELYARD_BENCH_MODEL"])

        @asynccontextmanager
        async def opened(_: Any) -> Any:
            service.open(model)
            yield

        app = build_app(service)
        app.router.lifespan_context = opened
        return app

    @serve.ingress(build)
    class Behind:
        def __init__(self, folder: str, port: int) -> None:
            pass

    return Behind


if __name__ == "__main__":
    main()
