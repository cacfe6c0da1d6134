"""What an API server may answer, and what becomes of it. A server of our own says it; a real one is met elsewhere."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import pytest

from modelyard.errors import ConflictError
from modelyard.kube import AbsentError, ConfigMap, ForbiddenError, PodAccount, RefusedError, UnreachableError
from modelyard.kube.server import ServerConfigMaps

ITEM = {"metadata": {"name": "a", "resourceVersion": "7"}, "data": {"x": "1"}}


@dataclass
class Answers:
    """What the server says, and what it was asked: (verb, path, headers, body)."""

    code: int = 200
    body: bytes = json.dumps(ITEM).encode()
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def account(tmp_path: Path, answers: Answers) -> Iterator[PodAccount]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answers.asked.append((self.command, self.path, dict(self.headers), sent))
            self.send_response(answers.code)
            for name, value in {**answers.headers, "Content-Length": str(len(answers.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answers.body)

        do_PATCH = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    (tmp_path / "token").write_text("secret-token")
    (tmp_path / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
    yield PodAccount(f"http://127.0.0.1:{server.server_port}", tmp_path, "team")
    server.shutdown()
    server.server_close()


def test_get_and_patch_are_what_the_role_grants(account: PodAccount, answers: Answers) -> None:
    maps = ServerConfigMaps(account)
    assert maps.get("a") == ConfigMap("a", {"x": "1"}, "7")
    assert maps.patch("a", {"x": "2", "y": None}, resource_version="7") == ConfigMap("a", {"x": "1"}, "7")
    (account.folder / "token").write_text("renewed")
    maps.patch("a", {})
    maps.close()
    (got, patched, renewed) = answers.asked
    assert got[:2] == ("GET", "/api/v1/namespaces/team/configmaps/a")
    assert got[2]["Authorization"] == "Bearer secret-token"
    assert patched[0] == "PATCH"
    assert patched[2]["Content-Type"] == "application/merge-patch+json"
    assert json.loads(patched[3]) == {"data": {"x": "2", "y": None}, "metadata": {"resourceVersion": "7"}}
    assert renewed[2]["Authorization"] == "Bearer renewed"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, RefusedError), (401, ForbiddenError), (403, ForbiddenError), (404, AbsentError), (409, ConflictError),
        (413, RefusedError), (422, RefusedError), (429, UnreachableError), (500, UnreachableError),
        (503, UnreachableError), (302, RefusedError),
    ],
)  # fmt: skip
def test_refusals_are_sorted_by_what_to_do(
    account: PodAccount, answers: Answers, code: int, kind: type[Exception]
) -> None:
    answers.code, answers.body = code, json.dumps({"message": "the server's own words"}).encode()
    with pytest.raises(kind) as caught:
        ServerConfigMaps(account).get("a")
    assert type(caught.value) is kind
    assert "team/a" in str(caught.value) or "the server's own words" in str(caught.value)
    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize(("sent", "seconds"), [("3", 3.0), ("900", 60.0), ("soon", 0.0), ("", 0.0)])
def test_the_servers_wish_for_a_pause_is_passed_on(
    account: PodAccount, answers: Answers, sent: str, seconds: float
) -> None:
    answers.code, answers.headers = 429, {"Retry-After": sent}
    with pytest.raises(UnreachableError) as caught:
        ServerConfigMaps(account).get("a")
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize("body", [b"<html>a proxy's page</html>", b"[]", b"{}", b'{"metadata": {}}', b""])
def test_what_is_no_api_server_is_said(account: PodAccount, answers: Answers, body: bytes) -> None:
    answers.body = body
    with pytest.raises(UnreachableError, match="is no API server"):
        ServerConfigMaps(account).get("a")


def test_a_server_that_is_away_comes_back_to_the_same_client(account: PodAccount, answers: Answers) -> None:
    away = PodAccount("http://127.0.0.1:9", account.folder, "team")
    with pytest.raises(UnreachableError, match="did not answer"):
        ServerConfigMaps(away).get("a")
    (account.folder / "ca.crt").rename(account.folder / "kept")
    maps = ServerConfigMaps(account)
    with pytest.raises(UnreachableError, match=r"ca\.crt"):
        maps.get("a")
    (account.folder / "kept").rename(account.folder / "ca.crt")
    assert maps.get("a").resource_version == "7"


def test_a_proxy_for_the_outside_world_is_passed_by(
    account: PodAccount, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ServerConfigMaps(account).get("a").name == "a"
