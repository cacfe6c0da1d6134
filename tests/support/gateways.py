"""A gateway over a real engine, listening on a real port in this process: what the serve tests talk to."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from modelyard.infer import open_model
from modelyard.serve.admission import Load
from modelyard.serve.gateway import build_app
from modelyard.serve.meters import Meters
from modelyard.serve.service import Served, Service


@dataclass(frozen=True)
class Running:
    """`call` runs a function on the gateway's event loop and waits for it."""

    url: str
    service: Service
    loop: asyncio.AbstractEventLoop

    def load(self) -> Load:
        """What the engine is doing now."""
        stepper = self.service._stepper
        assert stepper is not None

        async def ask() -> Load:
            return stepper.load()

        return asyncio.run_coroutine_threadsafe(ask(), self.loop).result()

    def drain(self, seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(self.service.drain(seconds), self.loop).result()


def wait_until(holds: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Whether it came to hold in time; asked every few milliseconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@contextmanager
def running_gateway(
    folder: Path, *, name: str = "tiny", version: str = "tiny@3", max_sequences: int = 8, load: bool = True
) -> Iterator[Running]:
    """Serve `folder` on a free loopback port until the block ends."""
    service = Service(Served(name, version), Meters(name))
    server = uvicorn.Server(uvicorn.Config(build_app(service), log_level="warning", ws="none"))
    listener = socket.create_server(("127.0.0.1", 0))
    ready: threading.Event = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        if load:
            service.open(open_model(folder, max_sequences=max_sequences))
        ready.set()
        await server.serve(sockets=[listener])
        await service.drain(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", service, loop)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
        loop.close()
