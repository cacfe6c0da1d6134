"""A replica as Ray Serve runs it, without Ray: alone, beside another on one socket, and when it cannot load."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from modelyard.errors import ModelyardError
from modelyard.serve.replica import Replica, ReplicaPlan
from modelyard.serve.service import Served
from modelyard.serve.sockets import listen, url_of
from support.gateways import wait_until
from support.tiny_models import write_tiny_model

ASKED = {"model": "tiny", "prompt": "a", "max_tokens": 100, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("replica") / "model")


@contextmanager
def replica(folder: Path, listener: socket.socket, *, shared: bool) -> Iterator[Replica]:
    plan = ReplicaPlan(str(folder), Served("tiny", "tiny@1"), drain_seconds=30, shared=shared)
    made = Replica(plan, listener.dup())
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("shared", [False, True])
def test_closing_lets_a_stream_finish(folder: Path, shared: bool) -> None:
    with listen("127.0.0.1", 0) as listener, replica(folder, listener, shared=shared) as made:
        made.check()
        body = {**ASKED, "stream": True, "n": 16}
        with httpx.stream("POST", f"{url_of(listener)}/v1/completions", json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            closing = threading.Thread(target=made.close)
            closing.start()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        closing.join()
        with pytest.raises(ModelyardError, match="its event loop has ended"):
            made.check()


def test_of_two_replicas_one_may_go_and_no_request_fails(folder: Path) -> None:
    with listen("127.0.0.1", 0) as listener, replica(folder, listener, shared=True) as first:
        url = f"{url_of(listener)}/v1/completions"
        statuses: list[int] = []
        enough = threading.Event()

        def ask() -> None:
            while not enough.is_set():
                statuses.append(httpx.post(url, json={**ASKED, "max_tokens": 3}, timeout=60).status_code)

        asking = [threading.Thread(target=ask) for _ in range(4)]
        with replica(folder, listener, shared=True):
            for thread in asking:
                thread.start()
            assert wait_until(lambda: len(statuses) > 20)
            first.close()
            before = len(statuses)
            assert wait_until(lambda: len(statuses) > before + 20)
            enough.set()
            for thread in asking:
                thread.join()
        assert set(statuses) == {200}


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(Exception, match=r"has no tokenizer\.json"):
        Replica(ReplicaPlan(str(tmp_path), Served("tiny", "tiny@1")), listener.dup())
