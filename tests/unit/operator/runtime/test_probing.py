"""Probes: real requests to a real endpoint, which may answer anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from modelyard_operator.kinds.observations import Probe
from modelyard_operator.runtime import probing
from modelyard_operator.runtime.probing import APART_SECONDS, Prober, Tally


@asynccontextmanager
async def endpoint() -> AsyncIterator[str]:
    async def handler(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/health":
                return web.Response(headers={"x-modelyard-version": "m@3"})
            case "/starting":
                return web.Response(status=503, text="loading\n  the model", headers={"x-modelyard-version": "m@3"})
            case "/moved":
                raise web.HTTPFound("/health")
            case "/slow":
                await asyncio.sleep(60)
        answer = web.StreamResponse(status=500)
        await answer.prepare(request)
        for _ in range(1000):
            await answer.write(b"x" * 1000)
        return answer

    application = web.Application()
    application.add_routes([web.get("/{path:.*}", handler)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "healthy", "version", "message"),
    [
        ("/health", True, "m@3", ""),
        ("/starting", False, "m@3", "answered 503: loading the model"),
        ("/moved", False, "", "answered 302: 302: Found"),
        ("/big", False, "", "answered 500: " + "x" * 200),
    ],
)
def test_an_answer_is_judged_by_its_status(path: str, healthy: bool, version: str, message: str) -> None:
    async def case() -> None:
        async with endpoint() as url:
            prober = Prober()
            assert await prober.ask(url + path) == Probe(url + path, healthy, version, message)
            await prober.close()

    asyncio.run(case())


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/health", "http://nowhere.invalid/", "nonsense", "http://[/"])
def test_no_answer_is_an_answer(url: str) -> None:
    async def case() -> Probe:
        prober = Prober()
        try:
            return await prober.ask(url)
        finally:
            await prober.close()

    probe = asyncio.run(case())
    assert not probe.healthy
    assert probe.message


def test_a_slow_endpoint_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.2)

    async def case() -> Probe:
        async with endpoint() as url:
            prober = Prober()
            probe = await prober.ask(url + "/slow")
            await prober.close()
            return probe

    began = time.monotonic()
    probe = asyncio.run(case())
    assert not probe.healthy
    assert probe.message
    assert time.monotonic() - began < 30


def test_failures_in_a_row_are_counted_by_endpoint_and_a_burst_is_one() -> None:
    now, well = [0.0], {"b"}

    async def ask(url: str) -> Probe:
        return Probe(url, healthy=url in well)

    tally = Tally(ask, clock=lambda: now[0])

    def asked(url: str) -> int:
        return asyncio.run(tally.ask(url)).failures

    assert [asked("a"), asked("a"), asked("b")] == [1, 1, 0]
    now[0] += APART_SECONDS
    assert [asked("a"), asked("a")] == [2, 2]
    well.add("a")
    assert asked("a") == 0
    well.clear()
    assert [asked("a"), asked("b")] == [1, 1]


def test_endpoints_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_ENDPOINTS", 3)
    now = [0.0]

    async def ask(url: str) -> Probe:
        return Probe(url, healthy=False)

    tally = Tally(ask, clock=lambda: now[0])
    for url in "abcd":
        asyncio.run(tally.ask(url))
    now[0] += APART_SECONDS
    assert [asyncio.run(tally.ask(url)).failures for url in "dcba"] == [2, 2, 2, 1]
