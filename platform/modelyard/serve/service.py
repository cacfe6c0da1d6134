"""One replica: which model it serves, what it is doing, and a generation from prompt ids to events. No HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelyard.errors import InvalidInputError
from modelyard.infer import Engine, Model, Request, SamplingParams, TokenEvent
from modelyard.serve.admission import admit
from modelyard.serve.meters import Meters
from modelyard.serve.refusals import RefusedError, from_input_error
from modelyard.serve.stepper import Stepper

# Sequences that may wait, for each place in the batch: four rounds of the batch, chosen by feel.
WAITING_PER_PLACE = 4


class Phase(StrEnum):
    """What the replica can do for a client now."""

    loading = "loading"
    ready = "ready"
    draining = "draining"
    broken = "broken"


@dataclass(frozen=True)
class Served:
    """What is served: the model's name, and `name@version` as every answer carries it."""

    name: str
    version: str

    def answers_to(self, asked: str) -> bool:
        return asked in (self.name, self.version)


@dataclass(frozen=True)
class Prompt:
    """Token ids to continue and how; `text` is what echo prints (None: decoded from the ids)."""

    ids: tuple[int, ...]
    params: SamplingParams
    text: str | None = None


class Service:
    """Starts as `loading`; `open` makes it ready, `drain` ends it. All methods belong to the event loop's thread."""

    def __init__(self, served: Served, meters: Meters) -> None:
        self.served = served
        self.meters = meters
        self.phase = Phase.loading
        self.fault = ""
        self.created = int(time.time())
        self._model: Model | None = None
        self._stepper: Stepper | None = None

    def open(self, model: Model) -> None:
        """The model is loaded: answer."""
        self._model = model
        self._stepper = Stepper(Engine(model), asyncio.get_running_loop(), on_broken=self._break)
        self._stepper.start()
        self.phase = Phase.ready

    @property
    def model(self) -> Model:
        """The loaded model; RefusedError (503) when there is none to answer with."""
        if self.phase is not Phase.ready or self._model is None:
            raise self.unready()
        return self._model

    def unready(self) -> RefusedError:
        words = {
            Phase.loading: "the model is being loaded",
            Phase.draining: "this server is shutting down",
            Phase.broken: f"the engine failed: {self.fault}",
        }.get(self.phase, "not ready")
        return RefusedError(503, words, code=f"model_{self.phase}", retry_after_seconds=1)

    def admit(self) -> None:
        """RefusedError (429) when too many wait already."""
        model, stepper = self.model, self._stepper
        assert stepper is not None
        max_waiting = WAITING_PER_PLACE * model.max_sequences
        decision = admit(stepper.load(), max_sequences=model.max_sequences, max_waiting=max_waiting)
        if not decision.admitted:
            raise RefusedError(
                429,
                f"{max_waiting} sequences wait already; try again in {decision.retry_after_seconds} s",
                code="queue_full",
                retry_after_seconds=decision.retry_after_seconds,
            )

    def generate(self, request_id: str, prompts: Sequence[Prompt]) -> Generation:
        """Submit one engine request a prompt. RefusedError (400, 429, 503) instead when it cannot be done."""
        model = self.model
        requests = [
            Request(id=f"{request_id}-{place}", prompt=prompt.ids, params=prompt.params, prompt_text=prompt.text)
            for place, prompt in enumerate(prompts)
        ]
        for request in requests:
            try:
                model.check(request.prompt, request.params)
            except InvalidInputError as error:
                raise from_input_error(error, param="prompt") from error
        self.admit()
        assert self._stepper is not None
        return Generation(requests, self._stepper, self.meters)

    def observe(self) -> None:
        """Bring the gauges up to date."""
        if self._stepper is not None:
            load = self._stepper.load()
            self.meters.running.set(load.running)
            self.meters.waiting.set(load.waiting)

    async def drain(self, seconds: float) -> None:
        """Refuse what is new, let what runs finish within `seconds`, then end the rest with a 503 and stop."""
        if self.phase is not Phase.broken:
            self.phase = Phase.draining
        stepper = self._stepper
        if stepper is None:
            return
        deadline = time.monotonic() + seconds
        while stepper.num_requests and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        stepper.cancel_all(self.unready())
        await asyncio.to_thread(stepper.close)

    def _break(self, error: Exception) -> None:
        self.fault = f"{type(error).__name__}: {error}"
        self.phase = Phase.broken


class Generation:
    """A submitted HTTP request's events, each with its choice's index over all prompts; counts them as they pass."""

    def __init__(self, requests: Sequence[Request], stepper: Stepper, meters: Meters) -> None:
        self.num_choices_per_prompt = requests[0].params.n
        self.num_choices = len(requests) * self.num_choices_per_prompt
        self._place = {request.id: place for place, request in enumerate(requests)}
        self._stepper = stepper
        self._meters = meters
        self._inbox = stepper.submit(requests)
        self._last_token: dict[int, float] = {}

    def stop(self) -> None:
        """The client has gone (or the answer is complete): free the places, end the iteration."""
        self._stepper.cancel(tuple(self._place))
        self._inbox.close()

    async def __aiter__(self) -> AsyncIterator[tuple[int, TokenEvent]]:
        async for event in self._inbox:
            index = self._place[event.request_id] * self.num_choices_per_prompt + event.choice
            self._count(index, event)
            yield index, event

    def _count(self, index: int, event: TokenEvent) -> None:
        now = time.monotonic()
        if event.token_ids:
            self._meters.generation_tokens.inc(len(event.token_ids))
            before = self._last_token.get(index)
            if before is None:
                self._meters.time_to_first_token.observe(now - self._inbox.started)
            else:
                self._meters.inter_token.observe(now - before)
        if index not in self._last_token and event.choice == 0:
            self._meters.prompt_tokens.inc(event.prompt_tokens)
        self._last_token[index] = now
        if event.finish_reason is not None:
            self._meters.e2e.observe(now - self._inbox.started)
            self._meters.success(event.finish_reason)
