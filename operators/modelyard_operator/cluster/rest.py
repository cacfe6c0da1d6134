"""The door to a real API server: JSON through the REST layer of the official client's asyncio half.

The generated API classes validate every object through pydantic; for thousands of them raw JSON is the right door. Here
are paths, time-outs, credentials and the mapping of refusals to our errors; nothing is retried except once after a 401.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from modelyard_operator.cluster.api import (
    ClusterError,
    ConflictError,
    GoneError,
    InvalidError,
    NoAnswerError,
    Page,
    WatchEvent,
)
from modelyard_operator.cluster.refusals import refusal
from modelyard_operator.kinds.objects import RESOURCES, Json, ObjectKey, Resource, resource_of

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "modelyard-operator"
_GRACE_SECONDS = 15.0  # what a server may be late in ending a watch before we take the connection for dead
_CONNECT_SECONDS = 10.0

OnCall = Callable[[str, int], None]


class CredentialsError(Exception):
    """There is no kubeconfig or ServiceAccount, or it cannot be read."""


_log = logging.getLogger(__name__)


async def _keep() -> None:
    """Credentials that renew themselves, or never change."""


@dataclass
class RestCluster:
    """See `Cluster`. `on_call` hears verb and code (0: no answer) of every call; `headers` go along (to impersonate).

    `timeout_seconds` bounds a call on our side and is told to the server, so that neither waits for the other in vain.
    """

    transport: RESTClientObject
    configuration: Configuration
    renew: Callable[[], Awaitable[None]] = _keep
    on_call: OnCall = lambda _verb, _code: None
    timeout_seconds: float = 30.0
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, key: ObjectKey) -> Json:
        """See `Cluster`."""
        return _whole(await self._call("get", "GET", _path(*key)), key.resource)

    async def list(
        self, resource: Resource, *, namespace: str = "", labels: str = "", limit: int = 500, more: str = ""
    ) -> Page:
        """See `Cluster`."""
        query = {"limit": str(limit), "labelSelector": labels, "continue": more}
        listed = await self._call("list", "GET", _path(resource, namespace), query)
        items = tuple(_whole(item, resource) for item in listed.get("items") or ())
        metadata = listed["metadata"]
        return Page(items, metadata.get("resourceVersion", ""), metadata.get("continue") or "")

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        resource_version: str,
        timeout_seconds: float,
    ) -> AsyncIterator[WatchEvent]:
        """See `Cluster`. Ends on our side, too, when the server is late in ending it: NoAnswerError."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": labels,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(timeout_seconds))),
        }
        limits = aiohttp.ClientTimeout(total=timeout_seconds + _GRACE_SECONDS, sock_connect=_CONNECT_SECONDS)
        try:
            answer = await self._send("watch", "GET", _path(resource, namespace), query, None, limits)
            try:
                async for line in answer.content:
                    yield _event(line, resource)
            finally:
                answer.close()  # a watch is a connection of its own: it cannot be reused half-read
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswerError(f"watch {resource}: {_words(error)}") from error
        except (HttpProcessingError, ValueError) as error:  # the watch would stumble over it again, a list does not
            raise GoneError(f"watch {resource}: a line is too long: list again") from error

    async def create(self, item: Json) -> Json:
        """See `Cluster`."""
        resource = resource_of(item)
        path = _path(resource, item["metadata"]["namespace"])
        return _whole(await self._call("create", "POST", path, {"fieldManager": FIELD_MANAGER}, item), resource)

    async def patch(
        self, key: ObjectKey, body: Json, *, uid: str = "", resource_version: str = "", subresource: str = ""
    ) -> Json:
        """See `Cluster`."""
        conditions = {name: value for name, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        conditional = {**body, "metadata": {**body.get("metadata", {}), **conditions}}
        path = _path(*key) + (f"/{subresource}" if subresource else "")
        try:
            patched = await self._call("patch", "PATCH", path, {"fieldManager": FIELD_MANAGER}, conditional)
        except InvalidError as error:
            if uid and "metadata.uid" in str(error):  # the server calls another object's uid an immutable field
                raise ConflictError(str(error)) from error
            raise
        return _whole(patched, key.resource)

    async def delete(self, key: ObjectKey, *, uid: str = "") -> None:
        """See `Cluster`."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._call("delete", "DELETE", _path(*key), {}, options)

    async def served(self) -> frozenset[Resource]:
        """See `Cluster`: asks discovery, a group and version at a time."""
        versions = sorted({resource.api_version for resource in RESOURCES})
        found = await asyncio.gather(*(self._plurals(version) for version in versions))
        plurals = dict(zip(versions, found, strict=True))
        return frozenset(resource for resource in RESOURCES if resource.plural in plurals[resource.api_version])

    async def _plurals(self, api_version: str) -> frozenset[str]:
        try:
            answer = await self._call("discover", "GET", _root(api_version))
        except ClusterError as error:
            if error.code == 404:
                return frozenset()
            raise
        return frozenset(resource["name"] for resource in answer["resources"])

    async def _call(
        self, verb: str, method: str, path: str, query: dict[str, str] | None = None, body: Json | None = None
    ) -> dict[str, Any]:
        told = {"timeout": f"{round(self.timeout_seconds)}s", **(query or {})}
        limits = aiohttp.ClientTimeout(total=self.timeout_seconds, sock_connect=_CONNECT_SECONDS)
        try:
            answer = await self._send(verb, method, path, told, body, limits)
            decoded: dict[str, Any] = json.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NoAnswerError(f"{verb} {path}: {_words(error)}") from error
        return decoded

    async def _send(
        self, verb: str, method: str, path: str, query: dict[str, str], body: Json | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer with its body unread; a refusal raises its ClusterError. A 401 renews the credentials once."""
        url = f"{self.configuration.host}{path}?{urlencode({name: value for name, value in query.items() if value})}"
        answer = await self._request(verb, method, url, body, limits)
        if answer.status == 401:
            answer.release()
            await self.renew()
            answer = await self._request(verb, method, url, body, limits)
        for warning in answer.headers.getall("Warning", ()):
            _log.warning("the API server warns: %s", warning, extra={"call": f"{verb} {path}"})
        if answer.status >= 400:
            raise refusal(answer.status, await answer.read(), answer.headers.get("Retry-After", ""), f"{verb} {path}")
        return answer

    async def _request(
        self, verb: str, method: str, url: str, body: Json | None, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER, **self.headers}
        headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        token = await self.configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        try:
            sent = self.transport.request(method, url, headers=headers, body=body, _request_timeout=limits)  # type: ignore[no-untyped-call]
            answer: aiohttp.ClientResponse = (await sent).response
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.on_call(verb, 0)
            raise
        self.on_call(verb, answer.status)
        return answer


@asynccontextmanager
async def open_rest(
    kubeconfig: str = "",
    *,
    on_call: OnCall = lambda _verb, _code: None,
    timeout_seconds: float = 30.0,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[RestCluster]:
    """A door for the length of a `with`: by a kubeconfig, else in a cluster by its ServiceAccount, else by KUBECONFIG.

    Raises CredentialsError where there are none.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = 100  # a connection for each watch, and for each worker's call
    try:
        renew = await _credentials(configuration, kubeconfig)
        transport = RESTClientObject(configuration)
    except Exception as error:  # whatever the client stumbles over in a file that it did not expect
        raise CredentialsError(f"{kubeconfig or 'the credentials'}: {_words(error)}") from error
    try:
        yield RestCluster(transport, configuration, renew, on_call, timeout_seconds, headers or {})
    finally:
        await transport.close()


async def _credentials(configuration: Configuration, kubeconfig: str) -> Callable[[], Awaitable[None]]:
    """Fills in host and credentials; what comes back reads them anew (a ServiceAccount's token renews itself)."""
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        return _keep
    given = {"config_file": kubeconfig or None, "client_configuration": configuration, "persist_config": False}
    loader = await load_kube_config(**given)  # type: ignore[no-untyped-call]

    async def renew() -> None:
        await loader.load_and_set(configuration)

    return renew


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _path(resource: Resource, namespace: str = "", name: str = "") -> str:
    inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{_root(resource.api_version)}{inside}/{resource.plural}" + (f"/{quote(name, safe='')}" if name else "")


def _whole(item: dict[str, Any], resource: Resource) -> Json:
    """An object with its kind: servers leave it out in lists of their own kinds."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}


def _event(line: bytes, resource: Resource) -> WatchEvent:
    """A line of a watch; an ERROR raises what it says (410: GoneError)."""
    try:
        told = json.loads(line)
    except ValueError as error:
        raise NoAnswerError(f"watch {resource}: a torn line") from error
    if told["type"] == "ERROR":
        status = told["object"]
        raise refusal(int(status.get("code", 500)), json.dumps(status).encode(), "", f"watch {resource}")
    return WatchEvent(told["type"], _whole(told["object"], resource))


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
