"""The HTTP door: OpenAI's routes over one `Service`. One process, one event loop, one engine thread beside it."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from modelyard.errors import InvalidInputError
from modelyard.infer import Model
from modelyard.serve.answers import ChatShape, ChoiceState, CompletionShape, Head, Shape, usage
from modelyard.serve.meters import CONTENT_TYPE
from modelyard.serve.protocol import MAX_BODY_BYTES, ChatBody, CompletionBody, parse_chat, parse_completion
from modelyard.serve.refusals import RefusedError, from_input_error, invalid
from modelyard.serve.service import Generation, Phase, Prompt, Service

VERSION_HEADER = "x-modelyard-version"
_LONG_TEXT = 8192  # characters; longer prompts are tokenised beside the event loop (about 1 ms at this length)
_LONG_BODY = 64 * 1024  # bytes; longer ones are parsed beside it (a few ms at this length)


def build_app(service: Service) -> FastAPI:
    """The application. While the service is still loading, /health and every question answer 503."""
    app = FastAPI(title="Modelyard", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_api_route("/health", _health(service), methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/metrics", _metrics(service), methods=["GET"], response_model=None)
    app.add_api_route("/v1/models", _models(service), methods=["GET"], response_model=None)
    app.add_api_route("/v1/models/{model:path}", _model(service), methods=["GET"], response_model=None)
    app.add_api_route("/v1/completions", _completions(service), methods=["POST"], response_model=None)
    app.add_api_route("/v1/chat/completions", _chat(service), methods=["POST"], response_model=None)
    app.add_exception_handler(RefusedError, _tell_refusal(service))
    app.add_exception_handler(HTTPException, _tell_http_error)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    app.add_exception_handler(Exception, _tell_crash)
    app.add_middleware(_NameVersion, version=service.served.version)
    return app


class _NameVersion:
    """Adds the version header to every answer, errors included."""

    def __init__(self, app: Any, version: str) -> None:
        self._app = app
        self._header = (VERSION_HEADER.encode(), version.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), self._header]}
            await send(message)

        await self._app(scope, receive, named)


Handler = Callable[[Request], Awaitable[Response]]


def _health(service: Service) -> Handler:
    async def health(request: Request) -> Response:
        if service.phase is not Phase.ready:
            raise service.unready()
        return _json({"status": "ok", "model": service.served.name, "version": service.served.version})

    return health


def _metrics(service: Service) -> Handler:
    async def metrics(request: Request) -> Response:
        service.observe()
        text = await asyncio.to_thread(service.meters.render, is_alive=_is_alive)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return metrics


def _models(service: Service) -> Handler:
    async def models(request: Request) -> Response:
        return _json({"object": "list", "data": [_model_card(service)]})

    return models


def _model(service: Service) -> Handler:
    async def model(request: Request) -> Response:
        _require_model(service, str(request.path_params["model"]))
        return _json(_model_card(service))

    return model


def _completions(service: Service) -> Handler:
    async def completions(request: Request) -> Response:
        body = await _parse(parse_completion, await _read_body(request))
        _require_model(service, body.model)
        model = service.model
        shape = CompletionShape(with_logprobs=body.logprobs is not None)
        prompts = []
        for asked in body.prompt:
            ids = asked if isinstance(asked, list) else await _encode(model.encode_prompt, asked)
            prompts.append(_prompt(body, model, ids, asked if isinstance(asked, str) else None))
        return await _answer(service, request, body, shape, prompts)

    return completions


def _chat(service: Service) -> Handler:
    async def chat(request: Request) -> Response:
        body = await _parse(parse_chat, await _read_body(request))
        _require_model(service, body.model)
        tokenizer = service.model.tokenizer
        if tokenizer.chat_template is None:
            raise invalid(
                f"{service.served.name} has no chat template: it continues text and was not taught to converse. "
                "Use /v1/completions, or serve a model whose tokenizer folder has chat_template.jinja",
                param="messages",
                code="no_chat_template",
            )
        messages = [message.model_dump(exclude_none=True) for message in body.messages]
        try:
            ids = await asyncio.to_thread(tokenizer.encode_chat, messages)
        except InvalidInputError as error:
            raise from_input_error(error, param="messages") from error
        prompt = _prompt(body, service.model, ids, None)
        return await _answer(service, request, body, ChatShape(with_logprobs=bool(body.logprobs)), [prompt])

    return chat


async def _answer(
    service: Service, request: Request, body: CompletionBody | ChatBody, shape: Shape, prompts: list[Prompt]
) -> Response:
    head = Head(f"{shape.id_prefix}-{uuid.uuid4().hex}", int(time.time()), body.model, service.served.version)
    generation = service.generate(head.id, prompts)
    hang_up = HangUp(request, generation)
    if body.stream:
        return EventStream(_chunks(generation, shape, head, with_usage=body.wants_usage_chunk), hang_up)
    choices = [ChoiceState() for _ in range(generation.num_choices)]
    async with hang_up:
        async for index, event in generation:
            choices[index].take(event)
    if hang_up.seen:
        return _unread()
    total = usage(choices, num_choices_per_prompt=generation.num_choices_per_prompt)
    return _json(shape.whole(head, choices, total))


async def _chunks(generation: Generation, shape: Shape, head: Head, *, with_usage: bool) -> AsyncIterator[bytes]:
    choices = [ChoiceState() for _ in range(generation.num_choices)]
    extra = {"usage": None} if with_usage else {}
    opening = shape.opening(head, generation.num_choices)
    begun = False
    try:
        async for index, event in generation:
            choices[index].take(event)
            if not (event.text or event.logprobs or event.finish_reason):
                continue
            for chunk in [] if begun else opening:
                yield _sse({**chunk, **extra})
            begun = True
            yield _sse({**shape.chunk(head, index, event), **extra})
    except RefusedError as refusal:
        if not begun:
            raise  # nothing is out yet: it can be told with its own status
        yield _sse(refusal.body())
        return
    if with_usage:
        total = usage(choices, num_choices_per_prompt=generation.num_choices_per_prompt)
        yield _sse(shape.closing(head, total))
    yield b"data: [DONE]\n\n"


class HangUp:
    """While entered, a client that hangs up stops the generation; leaving frees its places in any case."""

    def __init__(self, request: Request, generation: Generation) -> None:
        self._request = request
        self._generation = generation
        self.seen = False

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def __aexit__(self, *_: object) -> None:
        self._generation.stop()
        self._task.cancel()

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.seen = True
        self._generation.stop()


class EventStream(Response):
    """Server-sent events. The status line waits for the first chunk, so that an early fault still has its own."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[bytes], hang_up: HangUp) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._hang_up:
            started = False
            async for chunk in self._chunks:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    started = True
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if started:
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def _prompt(body: CompletionBody | ChatBody, model: Model, ids: list[int], text: str | None) -> Prompt:
    try:
        params = body.sampling(room=max(model.max_length - len(ids), 0))
    except InvalidInputError as error:
        raise from_input_error(error) from error
    return Prompt(tuple(ids), params, text)


T = TypeVar("T", CompletionBody, ChatBody)


async def _parse(parse: Callable[[bytes], T], body: bytes) -> T:
    return parse(body) if len(body) < _LONG_BODY else await asyncio.to_thread(parse, body)


async def _encode(encode: Callable[[str], list[int]], text: str) -> list[int]:
    try:
        return encode(text) if len(text) < _LONG_TEXT else await asyncio.to_thread(encode, text)
    except InvalidInputError as error:
        raise from_input_error(error, param="prompt") from error


async def _read_body(request: Request) -> bytes:
    """The whole body, bounded. What is too much is read and thrown away for a while, so that the client hears why."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        elif size > 16 * MAX_BODY_BYTES:
            break
    if size > MAX_BODY_BYTES:
        raise RefusedError(413, f"the body is larger than {MAX_BODY_BYTES // 1024**2} MiB", code="body_too_large")
    return b"".join(parts)


def _require_model(service: Service, asked: str) -> None:
    if not service.served.answers_to(asked):
        served = service.served
        raise RefusedError(
            404,
            f"the model {asked[:256]!r} is not served here; this server has {served.name!r} ({served.version})",
            param="model",
            code="model_not_found",
        )


def _model_card(service: Service) -> dict[str, Any]:
    served = service.served
    card = {"id": served.name, "object": "model", "created": service.created, "owned_by": "modelyard"}
    length = service.model.max_length if service.phase is Phase.ready else None
    return {**card, "root": served.version, "max_model_len": length}


def _tell_refusal(service: Service) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def tell(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        service.meters.refused(error.status)
        return _json(error.body(), status=error.status, headers=error.headers)

    return tell


async def _tell_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: f"no such route: {request.url.path}", 405: f"{request.method} is not allowed on {request.url.path}"}
    refusal = RefusedError(error.status_code, words.get(error.status_code, str(error.detail)))
    return _json(refusal.body(), status=error.status_code, headers=error.headers)


async def _tell_nobody(request: Request, error: Exception) -> Response:
    return _unread()


def _unread() -> Response:
    """To a client that hung up."""
    return Response(status_code=499)  # nginx's word for it


async def _tell_crash(request: Request, error: Exception) -> Response:
    refusal = RefusedError(500, f"internal error: {type(error).__name__}; the server's log has the traceback")
    return _json(refusal.body(), status=500)


def _json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_dump(value), status_code=status, headers=headers, media_type="application/json")


def _sse(value: object) -> bytes:
    return b"data: " + _dump(value) + b"\n\n"


def _dump(value: object) -> bytes:
    # ASCII only: U+2028 and U+0085 raw in an event break clients that split lines as Python's str does.
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
