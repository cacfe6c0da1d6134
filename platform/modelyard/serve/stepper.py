"""The engine's one thread, and the door between it and the event loop.

Orders (add, cancel) go in through a queue; after every step all new events go out in one wake-up of the loop. What a
slow client has not read yet waits in its request's `Inbox`; that is bounded by the answer's own length, and a client
that never reads holds memory but no place in the batch.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from modelyard.errors import ModelyardError
from modelyard.infer import Engine, Request, TokenEvent
from modelyard.serve.admission import Load
from modelyard.serve.refusals import RefusedError


@dataclass
class Inbox:
    """The events of one HTTP request that its handler has not taken yet. Touched by the event loop alone."""

    open_choices: int
    started: float
    events: deque[TokenEvent] = field(default_factory=deque)
    error: Exception | None = None
    closed: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, event: TokenEvent) -> None:
        self.events.append(event)
        self.open_choices -= event.finish_reason is not None
        self._news.set()

    def close(self, error: Exception | None = None) -> None:
        self.error = self.error or error
        self.closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[TokenEvent]:
        """Events until every choice has finished, the inbox is closed, or an error (raised) ends it."""
        while True:
            while self.events:
                yield self.events.popleft()
            if self.error is not None:
                raise self.error
            if self.closed or self.open_choices <= 0:
                return
            await self._news.wait()
            self._news.clear()


@dataclass(frozen=True)
class _Add:
    requests: tuple[Request, ...]
    inbox: Inbox


@dataclass(frozen=True)
class _Cancel:
    ids: tuple[str, ...]


class Stepper:
    """Steps the engine while there is work. `submit`, `cancel` and `load` are called from the event loop's thread."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop, *, on_broken: Callable[[Exception], None]):
        self._engine = engine
        self._loop = loop
        self._on_broken = on_broken
        self._orders: queue.SimpleQueue[_Add | _Cancel | None] = queue.SimpleQueue()
        self._inboxes: dict[str, Inbox] = {}  # by engine request id; the loop's thread alone
        self._live: dict[str, int] = {}  # choices not finished yet, by engine request id
        self._seconds_per_sequence = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def load(self) -> Load:
        live = sum(self._live.values())
        running = min(self._engine.num_running, live)
        return Load(running=running, waiting=live - running, seconds_per_sequence=self._seconds_per_sequence)

    @property
    def num_requests(self) -> int:
        """HTTP requests whose answer is not complete."""
        return len({id(inbox) for inbox in self._inboxes.values()})

    def submit(self, requests: Sequence[Request]) -> Inbox:
        inbox = Inbox(open_choices=sum(request.params.n for request in requests), started=time.monotonic())
        for request in requests:
            self._inboxes[request.id] = inbox
            self._live[request.id] = request.params.n
        self._orders.put(_Add(tuple(requests), inbox))
        return inbox

    def cancel(self, ids: Sequence[str]) -> None:
        """Free the places of these requests at once; those already finished are no fault."""
        gone = tuple(one for one in ids if self._inboxes.pop(one, None) is not None)
        for one in gone:
            self._live.pop(one, None)
        if gone:
            self._orders.put(_Cancel(gone))

    def cancel_all(self, error: Exception) -> None:
        """End every live answer with `error`."""
        for inbox in {id(one): one for one in self._inboxes.values()}.values():
            inbox.close(error)
        self.cancel(tuple(self._inboxes))

    def close(self) -> None:
        """Stop after the step under way."""
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._take_orders():
            if not self._engine.has_work:
                continue
            try:
                events = self._engine.step()
            except Exception as error:  # the engine's state is unknown now: every live answer ends, health says so
                self._tell(self._break, error)
                return
            if events:
                self._tell(self._deliver, events)

    def _take_orders(self) -> bool:
        """Apply what has arrived; wait for something when the engine is idle. False: close."""
        wait = not self._engine.has_work
        while True:
            try:
                order = self._orders.get(block=wait)
            except queue.Empty:
                return True
            if order is None:
                return False
            self._apply(order)
            wait = False

    def _apply(self, order: _Add | _Cancel) -> None:
        if isinstance(order, _Cancel):
            for one in order.ids:
                self._engine.cancel(one)
            return
        added: list[str] = []
        try:
            for request in order.requests:
                self._engine.add(request)
                added.append(request.id)
        except ModelyardError as error:  # the gateway checks first, so this is rare
            for one in added:
                self._engine.cancel(one)
            self._tell(self._refuse, order, error)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop has closed: nobody listens any more
            self._orders.put(None)

    def _deliver(self, events: Sequence[TokenEvent]) -> None:
        for event in events:
            inbox = self._inboxes.get(event.request_id)
            if inbox is None:  # cancelled while the step ran
                continue
            inbox.put(event)
            if event.finish_reason is not None:
                self._finish(event.request_id, time.monotonic() - inbox.started)

    def _finish(self, request_id: str, seconds: float) -> None:
        self._seconds_per_sequence += 0.2 * (seconds - self._seconds_per_sequence)  # 0.2: about the last ten count
        self._live[request_id] -= 1
        if self._live[request_id] == 0:
            del self._live[request_id], self._inboxes[request_id]

    def _refuse(self, order: _Add, error: Exception) -> None:
        for request in order.requests:
            self._inboxes.pop(request.id, None)
            self._live.pop(request.id, None)
        order.inbox.close(error)

    def _break(self, error: Exception) -> None:
        self._on_broken(error)
        self.cancel_all(RefusedError(500, f"the engine failed: {type(error).__name__}: {error}"))
