"""The shared listening socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from modelyard.errors import InvalidInputError
from modelyard.serve.sockets import SocketDoor, listen, receive_listener, url_of


def test_a_port_in_use_is_named_with_a_way_out() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            listen("127.0.0.1", port)
        assert "spec.api.port" in caught.value.hint


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"cannot listen on 192\.0\.2\.77"):
        listen("192.0.2.77", 0)  # TEST-NET-1: on no machine
    with pytest.raises(InvalidInputError, match=r"spec\.api\.host"):
        listen("no such host", 0)


def test_every_replica_gets_the_same_socket(tmp_path: Path) -> None:
    listener = listen("127.0.0.1", 0)
    address = listener.getsockname()
    door = SocketDoor(listener, tmp_path / "door")
    copies = [receive_listener(tmp_path / "door") for _ in range(2)]
    door.close()
    with socket.create_connection(address, 5) as client:  # one copy is enough to be reached
        copies[0].close()
        accepted, _ = copies[1].accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
    copies[1].close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:")])
def test_the_url_is_one_that_clients_can_use(host: str, expected: str) -> None:
    with listen(host, 0) as listener:
        assert url_of(listener) == expected + str(listener.getsockname()[1])
