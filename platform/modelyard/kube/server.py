"""ConfigMaps on the real API server, over httpx. Blocking, safe for several threads, no retries."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from modelyard.errors import ConflictError, ModelyardError
from modelyard.kube.account import PodAccount
from modelyard.kube.configmaps import ConfigMap
from modelyard.kube.refusals import AbsentError, ForbiddenError, RefusedError, UnreachableError

TIMEOUT_SECONDS = 10.0  # for each of connect, write, read. By feel
_MERGE = "application/merge-patch+json"


class ServerConfigMaps:
    """ConfigMaps on the API server of a pod's account. `close` it at the end."""

    def __init__(self, account: PodAccount, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._account = account
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def get(self, name: str) -> ConfigMap:
        return self._ask("GET", name)

    def patch(self, name: str, data: Mapping[str, str | None], *, resource_version: str = "") -> ConfigMap:
        body: dict[str, Any] = {"data": dict(data)}
        if resource_version:
            body["metadata"] = {"resourceVersion": resource_version}
        return self._ask("PATCH", name, json.dumps(body).encode())

    def close(self) -> None:
        """Let the connections go; a later call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, verb: str, name: str, body: bytes | None = None) -> ConfigMap:
        account = self._account
        headers = {"Authorization": f"Bearer {account.token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = _MERGE
        url = f"{account.server}/api/v1/namespaces/{account.namespace}/configmaps/{name}"
        try:
            answer = self._connected().request(verb, url, headers=headers, content=body)
        except httpx.HTTPError as error:
            self.close()  # the next call reads the authority anew: it may have been renewed
            words = str(error) or type(error).__name__
            raise UnreachableError(f"the API server at {account.server} did not answer: {words}") from error
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer, f"ConfigMap {account.namespace}/{name}")
        return _read(answer, name)

    def _connected(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                try:
                    trust = ssl.create_default_context(cafile=self._account.authority)
                except OSError as error:  # ssl.SSLError, for a file that holds no certificate, is one
                    raise UnreachableError(f"cannot read {self._account.authority}: {error}") from error
                # trust_env off: a proxy set for the outside world does not lead to the cluster's own server.
                self._client = httpx.Client(verify=trust, timeout=self._timeout, trust_env=False)
            return self._client


def _read(answer: httpx.Response, name: str) -> ConfigMap:
    try:
        item = answer.json()
        return ConfigMap(name, item.get("data") or {}, item["metadata"]["resourceVersion"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreachableError(f"what answered at {answer.url.host} is no API server: {error}") from error


def _refusal(answer: httpx.Response, what: str) -> ModelyardError:
    code = answer.status_code
    said = _words(answer)
    if code == httpx.codes.NOT_FOUND:
        return AbsentError(f"{what} does not exist", hint="the operator makes it: was it deleted by hand?")
    if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ForbiddenError(f"{what} is not allowed to this pod: {said}", hint="its Role grants get and patch of it")
    if code == httpx.codes.CONFLICT:
        return ConflictError(f"{what} was changed by someone else in the meantime", hint="look again, then retry")
    if code == httpx.codes.TOO_MANY_REQUESTS or code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return UnreachableError(
            f"the API server is busy or failing ({code}): {said}", retry_after_seconds=_after(answer)
        )
    return RefusedError(f"{what} was refused ({code}): {said}")


def _words(answer: httpx.Response) -> str:
    """The message of the server's Status object, else the beginning of what it sent."""
    with contextlib.suppress(ValueError, AttributeError):
        return str(answer.json().get("message") or answer.reason_phrase)[:500]
    return answer.text[:200] or answer.reason_phrase


def _after(answer: httpx.Response) -> float:
    """Seconds of Retry-After; the server sends numbers, never dates."""
    with contextlib.suppress(ValueError):
        return min(float(answer.headers.get("Retry-After", 0)), 60.0)
    return 0.0
