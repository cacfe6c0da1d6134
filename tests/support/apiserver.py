"""A real Kubernetes API server for tests: one a session, started by the first test that asks, gone with the session.

It is held by a process of its own (apiserver_holder.py), which stops the server when told, or when the session is
gone, however that ended: a kill leaves nothing behind. Tests take it by the fixtures `api_server` (the session's) and
`namespace` (a test's own).

To keep one over many sessions while developing: `python tests/support/apiserver_holder.py FOLDER --keep &` (SIGTERM or
Ctrl-C ends it), and `export MODELYARD_TESTS_API_SERVER=FOLDER`. Its CRDs are those of its start.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pytest

HOLDER = Path(__file__).with_name("apiserver_holder.py")
START_SECONDS = 240  # 20 are usual; a first start unpacks 320 MB, and other tests may hold both cores
STOP_SECONDS = 60
_CEL = (1, 25)  # on by default from there on
NO_SERVER = 3  # the holder's exit code where there are no binaries


@dataclass(frozen=True)
class ApiServer:
    """A running server. `kubeconfig` is an admin's (system:masters), who may impersonate with `--as`.

    `crd_kubeconfig` is where CRDs are read and written: the shared server keeps them behind another door.
    `controllers`: whether children go with their owners, namespaces are emptied and ServiceAccounts appear; envtest has
    no controllers. `folder` is scratch space that goes with the server.
    """

    url: str
    kubeconfig: str
    crd_kubeconfig: str
    kubectl_path: str
    folder: str
    controllers: bool

    def run_kubectl(self, *words: str, text: str = "", timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """kubectl as the admin, whatever its exit code; `text` is its standard input, for `-f -`."""
        command = [self.kubectl_path, f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder}/kubectl", *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout_seconds, check=False)

    def kubectl(self, *words: str, text: str = "", timeout_seconds: float = 60) -> str:
        """What kubectl prints; AssertionError with its words when it fails."""
        done = self.run_kubectl(*words, text=text, timeout_seconds=timeout_seconds)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        """What kubectl prints as JSON."""
        return json.loads(self.kubectl(*words, "-o", "json"))

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One call without a client between; urllib's HTTPError when the server refuses (its body says why)."""
        config = json.loads(Path(self.kubeconfig).read_text())
        headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        with urllib.request.urlopen(asked, context=self._trust, timeout=30) as answer:
            return json.loads(answer.read())

    @cached_property
    def checks_rules(self) -> bool:
        """Whether CRDs' rules (CEL) hold here; the shared server's custom resources are those of a newer one."""
        told = self.request("GET", "/version")
        return self.crd_kubeconfig != self.kubeconfig or (int(told["major"]), int(told["minor"].rstrip("+"))) >= _CEL

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        cluster = json.loads(Path(self.kubeconfig).read_text())["clusters"][0]["cluster"]
        return ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())

    @contextlib.contextmanager
    def new_namespace(self) -> Iterator[Namespace]:
        """A namespace of its own, ready for pods; deleted (in the background) at the end."""
        name = f"test-{secrets.token_hex(4)}"
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            if self.controllers:
                self._await(f"/api/v1/namespaces/{name}/serviceaccounts/default")
            yield Namespace(name, self)
        finally:
            self.request("DELETE", f"/api/v1/namespaces/{name}")

    def _await(self, path: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                self.request("GET", path)
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return


@dataclass(frozen=True)
class Namespace:
    """A namespace of a test, with kubectl in it."""

    name: str
    server: ApiServer

    def kubectl(self, *words: str, text: str = "", timeout_seconds: float = 60) -> str:
        """What kubectl prints; AssertionError with its words when it fails."""
        return self.server.kubectl("-n", self.name, *words, text=text, timeout_seconds=timeout_seconds)

    def run_kubectl(self, *words: str, text: str = "", timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """kubectl, whatever its exit code."""
        return self.server.run_kubectl("-n", self.name, *words, text=text, timeout_seconds=timeout_seconds)

    def json(self, *words: str) -> Any:
        """What kubectl prints as JSON."""
        return self.server.json("-n", self.name, *words)


@contextlib.contextmanager
def running() -> Iterator[ApiServer]:
    """A server for the length of a `with`; skips, in words, where none can be had."""
    kept = os.environ.get("MODELYARD_TESTS_API_SERVER")
    if kept:
        yield _described(Path(kept))
        return
    folder = Path(tempfile.mkdtemp(prefix="modelyard-api-"))  # the holder removes it
    with tempfile.TemporaryFile() as log:
        # In a session of its own: Ctrl-C is for pytest alone, which then ends the holder in order.
        holder = subprocess.Popen(
            [sys.executable, HOLDER, folder], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield _ready(holder, folder, log)
        finally:
            holder.terminate()
            holder.wait(STOP_SECONDS)


def _ready(holder: subprocess.Popen[bytes], folder: Path, log: IO[bytes]) -> ApiServer:
    end = time.monotonic() + START_SECONDS
    while not (folder / "server.json").exists():
        if holder.poll() is not None or time.monotonic() > end:
            log.seek(0)
            told = log.read().decode()[-3000:].strip()
            if holder.returncode == NO_SERVER:
                pytest.skip(told)
            raise RuntimeError(f"the API server did not start: {told}")
        time.sleep(0.1)
    return _described(folder)


def _described(folder: Path) -> ApiServer:
    return ApiServer(**json.loads((folder / "server.json").read_text()))
