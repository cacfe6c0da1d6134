"""Asks endpoints whether they really answer: one short GET, no redirects, no body kept; and counts what fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from modelyard_operator.cluster.observing import Ask
from modelyard_operator.kinds.observations import Probe

if TYPE_CHECKING:
    import httpx

PROBE_SECONDS = 3.0
APART_SECONDS = 3.0  # looks come in bursts: what fails within that is one failure
MOST_ENDPOINTS = 10_000  # that fail at a time; of more the oldest is forgotten
VERSION_HEADER = "x-modelyard-version"
_SHOWN = 200  # characters of a refusal


class Prober:
    """Asks over connections that it keeps; `close` ends them."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client

    async def ask(self, url: str) -> Probe:
        """What the endpoint says now; never raises: no answer is an answer, too."""
        import httpx  # a third of a second, which a start without deployments does not owe

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=PROBE_SECONDS, follow_redirects=False, trust_env=False)
        try:
            async with self._client.stream("GET", url) as answer:
                version = answer.headers.get(VERSION_HEADER, "")
                if answer.status_code == 200:
                    return Probe(url, healthy=True, version=version)
                return Probe(url, healthy=False, version=version, message=await _refusal(answer))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Probe(url, healthy=False, message=str(error) or type(error).__name__)

    async def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            await self._client.aclose()


class Tally:
    """Hands on to `ask`, and counts each endpoint's failures in a row. Kept in memory: who starts anew counts anew."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._failed: dict[str, tuple[int, float]] = {}  # how often, and when it was counted last

    async def ask(self, url: str) -> Probe:
        """What the endpoint says now, with the number of failures up to this one."""
        probe = await self._ask(url)
        if probe.healthy:
            self._failed.pop(url, None)
            return probe
        now = self._clock()
        failures, last = self._failed.get(url, (0, 0.0))
        if not failures or now - last >= APART_SECONDS:
            failures += 1
            self._failed[url] = (failures, now)
        if len(self._failed) > MOST_ENDPOINTS:
            del self._failed[next(iter(self._failed))]
        return replace(probe, failures=failures)


async def _refusal(answer: httpx.Response) -> str:
    """Status and the beginning of the body, however long that is."""
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) >= _SHOWN:
            break
    words = " ".join(body.decode(errors="replace").split())[:_SHOWN]
    return f"answered {answer.status_code}{': ' + words if words else ''}"
