"""What the kubelet and Prometheus ask: /healthz, /readyz, /metrics. Answers are looked up when asked, not before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

Faults = Callable[[], Mapping[str, str]]


@asynccontextmanager
async def answering(port: int, alive: Faults, ready: Faults, exposed: Callable[[], bytes]) -> AsyncIterator[int]:
    """Answer on a port of all addresses (0: any free one of loopback) for the length of a `with`; yields the port.

    `alive` and `ready` say what is wrong, by name; nothing wrong is 200, anything else 503 with these words as JSON.
    """

    def answer(faults: Mapping[str, str]) -> web.Response:
        return web.json_response({"ok": not faults, "faults": dict(faults)}, status=503 if faults else 200)

    async def healthz(_: web.Request) -> web.Response:
        return answer(alive())

    async def readyz(_: web.Request) -> web.Response:
        return answer(ready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposed(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, None if port else "127.0.0.1", port).start()
        address: tuple[str, int] = runner.addresses[0]
        yield address[1]
    finally:
        await runner.cleanup()
