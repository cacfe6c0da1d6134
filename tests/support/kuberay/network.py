"""The network of the stand-in's cluster: Services answer under their DNS names, at one loopback address of its own.

Whoever resolves `<service>.<namespace>.svc.<domain>` to `address` (see `cluster_dns`) and asks port 8000 there is
handed on to the process behind the Service's selector. Bytes only: what is asked and answered is not looked at but
for the Host line. Where no processes are (Ray by script), `answering` says how a Service's health is.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from modelyard_operator.kinds.observations import Probe
from modelyard_operator.runtime.probing import VERSION_HEADER

PORT = 8000
_HOST = re.compile(rb"^host: *([^\s:]+)", re.IGNORECASE | re.MULTILINE)

Resolve = Callable[[str], Awaitable[tuple[str, int] | None]]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def services(resolve: Resolve) -> AsyncIterator[str]:
    """Answer for Services as long as the `with` lasts; yields the address. `resolve` says who answers for a name."""
    async with _listening(lambda reader, writer: _hand_on(reader, writer, resolve)) as address:
        yield address


@asynccontextmanager
async def answering(ask: Callable[[str], Awaitable[Probe]]) -> AsyncIterator[str]:
    """Answer whatever is asked of a Service with its health: 200 and the version's header, or 503."""
    async with _listening(lambda reader, writer: _tell(reader, writer, ask)) as address:
        yield address


@asynccontextmanager
async def _listening(talk: Handle) -> AsyncIterator[str]:
    connections: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        connections.discard(asyncio.current_task())
        writer.close()

    address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(256)}.{secrets.randbelow(250) + 2}"
    server = await asyncio.start_server(handle, address, PORT)
    try:
        yield address
    finally:
        server.close()
        ending = [connection for connection in connections if connection is not None]
        for connection in ending:  # kept alive by who asked
            connection.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, resolve: Resolve) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    host = _HOST.search(head)
    place = await resolve(host.group(1).decode()) if host else None
    if place is None:
        return  # no endpoints: the connection just ends
    upstream, onward = await asyncio.open_connection(*place)
    onward.write(head)
    back = asyncio.create_task(_pipe(upstream, writer))
    try:
        await _pipe(reader, onward)
    finally:
        onward.close()
        await back


async def _tell(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Callable[[str], Awaitable[Probe]]
) -> None:
    host = _HOST.search(await reader.readuntil(b"\r\n\r\n"))
    if host is None:
        return
    probe = await ask(f"http://{host.group(1).decode()}:{PORT}/health")
    first, words = ("200 OK", "healthy") if probe.healthy else ("503 Service Unavailable", probe.message)
    version = f"{VERSION_HEADER}: {probe.version}\r\n" if probe.version else ""
    head = f"HTTP/1.1 {first}\r\n{version}content-length: {len(words.encode())}\r\nconnection: close\r\n\r\n"
    writer.write((head + words).encode())
    await writer.drain()


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    with suppress(OSError):
        target.close()
