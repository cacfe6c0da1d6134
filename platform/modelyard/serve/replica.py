"""One replica: a model, and the gateway over it on a thread and event loop of its own.

It knows no Ray; `on_ray.py` places it, watches `check` and calls `close`. Tests run it as it is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvicorn

from modelyard.errors import ModelyardError
from modelyard.infer import Model, open_model
from modelyard.serve.gateway import build_app
from modelyard.serve.meters import Meters
from modelyard.serve.service import Phase, Served, Service

# A connection accepted a moment ago has not sent its request yet: uvicorn would take it for idle and end it.
SETTLE_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaPlan:
    """All that a replica needs to know; plain values, so that it travels to another process."""

    folder: str
    served: Served
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "cpu"
    max_sequences: int = 16
    max_batch_tokens: int = 4096
    max_sequence_length: int | None = None
    threads: int = 1
    drain_seconds: float = 30.0
    shared: bool = False  # other replicas hold the same socket


class Replica:
    """Answers when the constructor returns, ends with `close`.

    Alone it accepts from the first moment, and says 503 while it loads or drains. With others behind the same socket
    it accepts only while it can answer: they take what comes meanwhile.
    """

    def __init__(self, plan: ReplicaPlan, listener: socket.socket) -> None:
        self._plan = plan
        self._service = Service(plan.served, Meters(plan.served.name))
        config = _uvicorn_config(self._service, plan)
        self._loop = (config.get_loop_factory() or asyncio.new_event_loop)()  # uvloop where there is one
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._listen, args=(listener,), name="gateway", daemon=True)
        if not plan.shared:
            self._thread.start()
        try:
            self._model = load_model(plan)
        except BaseException:
            self.close()
            raise
        if plan.shared:
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._opened(), self._loop).result()
        log.info("serving %s", plan.served.version)

    def check(self) -> None:
        """Raises when this replica should be replaced."""
        if self._service.phase is Phase.broken or not self._thread.is_alive():
            raise ModelyardError(f"the replica is broken: {self._service.fault or 'its event loop has ended'}")

    def close(self) -> None:
        """Finish what is in flight (bounded by `drain_seconds`), refuse what is new, stop listening."""
        if not self._thread.is_alive():
            return
        leaving = self._accept_no_more() if self._plan.shared else self._service.drain(self._plan.drain_seconds)
        asyncio.run_coroutine_threadsafe(leaving, self._loop).result()
        self._server.should_exit = True  # uvicorn ends idle connections and waits for the others
        self._thread.join(self._plan.drain_seconds + 10)

    def _listen(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        if self._plan.shared:
            await self._opened()
        await self._server.serve(sockets=[listener])
        await self._service.drain(0)

    async def _accept_no_more(self) -> None:
        for accepting in self._server.servers:
            accepting.close()
        await asyncio.sleep(SETTLE_SECONDS)

    async def _opened(self) -> None:
        if self._service.phase is Phase.loading:
            self._service.open(self._model)


def load_model(plan: ReplicaPlan) -> Model:
    """The model as the plan says, with as many threads as it has CPUs."""
    import torch

    torch.set_num_threads(plan.threads)
    return open_model(
        Path(plan.folder),
        precision=plan.precision,
        device=plan.device,
        max_sequences=plan.max_sequences,
        max_sequence_length=plan.max_sequence_length,
        max_batch_tokens=plan.max_batch_tokens,
    )


def _uvicorn_config(service: Service, plan: ReplicaPlan) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(service),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep idle connections (httpx 5 s, nginx 60 s): they close first
        # Several replicas: every answer ends its connection, so that every request is placed anew.
        timeout_graceful_shutdown=int(plan.drain_seconds),
        headers=[("connection", "close")] if plan.shared else [],
    )
