"""The door to a real server where a real one cannot be made to misbehave: against a small HTTP server that does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modelyard_operator.cluster.api import (
    ClusterError,
    ForbiddenError,
    GoneError,
    NoAnswerError,
    ThrottledError,
    UnavailableError,
    WatchEvent,
)
from modelyard_operator.cluster.rest import CredentialsError, RestCluster, open_rest
from modelyard_operator.kinds.objects import CONFIG_MAPS, RAY_JOBS, RESOURCES, ObjectKey

KEY = ObjectKey(CONFIG_MAPS, "n", "a")
OBJECT = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler, folder: Path, **options: Any) -> AsyncIterator[RestCluster]:
    """A door to a server that answers everything by `handler`; its token is in the file `token`."""
    application = web.Application()
    application.add_routes([web.route("*", "/{path:.*}", handler)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (folder / "token").write_text("first")
    config = {
        "current-context": "t",
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
        "users": [{"name": "t", "user": {"tokenFile": "token"}}],
        "clusters": [{"name": "t", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    try:
        async with open_rest(str(folder / "kubeconfig"), **options) as cluster:
            yield cluster
    finally:
        await runner.cleanup()


async def fine(_: web.Request) -> web.Response:
    return web.json_response(OBJECT)


def test_every_call_is_counted_by_verb_and_code_and_carries_its_headers(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []
    seen: list[tuple[str, str, str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        headers = request.headers
        seen.append((request.method, request.path, headers["Authorization"], headers.get("Impersonate-User", "")))
        return web.json_response(OBJECT, status=404 if request.method == "DELETE" else 200)

    async def case() -> None:
        headers = {"Impersonate-User": "somebody"}
        async with answering(handler, tmp_path, on_call=lambda *call: calls.append(call), headers=headers) as cluster:
            assert await cluster.get(KEY) == {"apiVersion": "v1", "kind": "ConfigMap", **OBJECT}
            await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", **OBJECT})
            await cluster.patch(ObjectKey(RAY_JOBS, "n", "a"), {}, subresource="status")
            with pytest.raises(ClusterError):
                await cluster.delete(KEY)

    asyncio.run(case())
    assert calls == [("get", 200), ("create", 200), ("patch", 200), ("delete", 404)]
    assert [line[:2] for line in seen] == [
        ("GET", "/api/v1/namespaces/n/configmaps/a"),
        ("POST", "/api/v1/namespaces/n/configmaps"),
        ("PATCH", "/apis/ray.io/v1/namespaces/n/rayjobs/a/status"),
        ("DELETE", "/api/v1/namespaces/n/configmaps/a"),
    ]
    assert {line[2:] for line in seen} == {("Bearer first", "somebody")}


def test_a_token_that_ran_out_is_read_anew_once(tmp_path: Path) -> None:
    tokens: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        return web.json_response(OBJECT, status=200 if tokens[-1] == "Bearer second" else 401)

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            with pytest.raises(ForbiddenError):
                await cluster.get(KEY)
            (tmp_path / "token").write_text("second")
            await cluster.get(KEY)
            await cluster.get(KEY)

    asyncio.run(case())
    assert tokens == ["Bearer first"] * 3 + ["Bearer second"] * 2


def test_in_a_cluster_the_service_accounts_token_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.aio.config import incluster_config

    (tmp_path / "token").write_text("of the pod")
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "9")

    async def opened() -> str:
        async with open_rest() as cluster:
            return str(cluster.configuration.host)

    with pytest.raises(CredentialsError, match="empty"):
        asyncio.run(opened())


def test_a_server_that_hangs_is_no_answer_in_time(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.json_response(OBJECT)

    async def case() -> None:
        async with answering(
            handler, tmp_path, timeout_seconds=0.2, on_call=lambda *call: calls.append(call)
        ) as cluster:
            with pytest.raises(NoAnswerError):
                await cluster.get(KEY)

    asyncio.run(case())
    assert calls == [("get", 0)]


def test_a_server_is_told_how_long_we_wait(tmp_path: Path) -> None:
    queries: list[dict[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": None})

    async def case() -> None:
        async with answering(handler, tmp_path, timeout_seconds=20) as cluster:
            assert (await cluster.list(CONFIG_MAPS, labels="a", limit=7, more="token")).items == ()
            async for _ in cluster.watch(CONFIG_MAPS, resource_version="5", timeout_seconds=300):
                break

    with pytest.raises(KeyError):  # a list is no watch event
        asyncio.run(case())
    assert queries[0] == {"timeout": "20s", "limit": "7", "labelSelector": "a", "continue": "token"}
    assert (queries[1]["timeoutSeconds"], queries[1]["resourceVersion"]) == ("300", "5")
    assert queries[1]["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"metadata": '])
def test_an_answer_that_is_not_json_is_no_answer(tmp_path: Path, body: bytes) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            with pytest.raises(NoAnswerError):
                await cluster.get(KEY)

    asyncio.run(case())


def test_too_many_requests_say_how_long_to_wait(tmp_path: Path) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"message": "slow"}, status=429, headers={"Retry-After": "17"})

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            with pytest.raises(ThrottledError) as raised:
                await cluster.get(KEY)
            assert raised.value.retry_after_seconds == 17

    asyncio.run(case())


def line(event: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": event, "object": item}).encode() + b"\n"


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
ADDED = WatchEvent("ADDED", {"apiVersion": "v1", "kind": "ConfigMap", **OBJECT})


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ([line("ADDED", OBJECT), line("ERROR", GONE)], GoneError),
        ([line("ADDED", OBJECT), line("ERROR", {"code": 500, "message": "broken"})], UnavailableError),
        ([line("ADDED", OBJECT), line("ADDED", OBJECT)[:20]], NoAnswerError),
        ([line("ADDED", OBJECT)], None),
    ],
    ids=["gone", "broken", "torn", "ended"],
)
def test_what_a_watch_says_at_its_end(tmp_path: Path, sent: list[bytes], error: type[ClusterError] | None) -> None:
    told: list[WatchEvent] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for part in sent:
            await answer.write(part)
        return answer

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            async for event in cluster.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=9):
                told.append(event)

    if error is None:
        asyncio.run(case())
    else:
        with pytest.raises(error):
            asyncio.run(case())
    assert told == [ADDED]


def test_a_line_of_a_watch_may_be_as_long_as_an_object_may_be(tmp_path: Path) -> None:
    big = {**OBJECT, "data": {"x": "y" * 1_500_000}}  # what etcd takes by default

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(line("ADDED", big))
        return answer

    async def case() -> list[WatchEvent]:
        async with answering(handler, tmp_path) as cluster:
            watching = cluster.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=9)
            return [event async for event in watching]

    assert asyncio.run(case())[0].item["data"] == big["data"]


def test_a_line_that_is_too_long_to_read_asks_for_a_list(tmp_path: Path) -> None:
    """A megabyte of control characters is six in JSON: nobody's ConfigMap ends the operator."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(line("ADDED", {**OBJECT, "data": {"x": "\x01" * 1_000_000}}))
        return answer

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            async for _ in cluster.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=9):
                pass

    with pytest.raises(GoneError):
        asyncio.run(case())


def test_a_watch_whose_server_went_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard_operator.cluster.rest._GRACE_SECONDS", 0.1)

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await asyncio.sleep(60)
        return answer

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            async for _ in cluster.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=0.1):
                pass

    with pytest.raises(NoAnswerError):
        asyncio.run(case())


def test_discovery_tells_which_kinds_are_served(tmp_path: Path) -> None:
    groups = {
        "/api/v1": ["configmaps", "pods", "pods/status"],
        "/apis/ray.io/v1": ["rayjobs", "rayjobs/status"],
    }

    async def handler(request: web.Request) -> web.Response:
        names = groups.get(request.path)
        found = {"resources": [{"name": name} for name in names or ()]}
        return web.json_response(found, status=404 if names is None else 200)

    async def case() -> set[str]:
        async with answering(handler, tmp_path) as cluster:
            return {resource.plural for resource in await cluster.served()}

    assert asyncio.run(case()) == {"configmaps", "pods", "rayjobs"}
    assert len(RESOURCES) > 10


def test_what_the_server_warns_of_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(OBJECT, headers={"Warning": '299 - "unknown field \\"spec.x\\""'})

    async def case() -> None:
        async with answering(handler, tmp_path) as cluster:
            await cluster.get(KEY)

    with caplog.at_level(logging.WARNING):
        asyncio.run(case())
    assert "unknown field" in caplog.text
