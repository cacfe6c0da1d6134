"""One listening socket, opened before anything else starts and shared by every replica on the machine.

The starter binds and listens, so a port in use is known at once and a connection that comes while a replica restarts
waits instead of failing. Replicas receive the socket itself through a Unix socket in a folder that only this user can
enter (the way of inetd and of systemd's socket activation).
"""

from __future__ import annotations

import errno
import socket
import threading
from pathlib import Path

from modelyard.errors import InvalidInputError

BACKLOG = 1024  # connections that may wait to be accepted; Linux caps it at net.core.somaxconn (4096 today)


def listen(host: str, port: int) -> socket.socket:
    """Listen on (host, port); port 0 takes a free one. InvalidInputError when it cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInputError(
            f"spec.api.host: {host!r} is no address of this machine: {error}", hint="write 127.0.0.1"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where clients on this machine reach the socket."""
    host, port = listener.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{local}:{port}"


class SocketDoor:
    """Hands the listening socket to whoever connects to `path`, until closed."""

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self._listener = listener
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen()
        self._thread = threading.Thread(target=self._hand_out, name="socket-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more replicas; the listening socket closes here (replicas hold copies of their own)."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()
        self._listener.close()

    def _hand_out(self) -> None:
        while True:
            try:
                replica, _ = self._door.accept()
            except OSError:  # closed
                return
            with replica:
                socket.send_fds(replica, [b"listener"], [self._listener.fileno()])


def receive_listener(path: Path) -> socket.socket:
    """The shared listening socket, fetched from a SocketDoor."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(path))
        _, descriptors, _, _ = socket.recv_fds(door, 16, 1)
    return socket.socket(fileno=descriptors[0])


def _cannot_listen(host: str, port: int, error: OSError) -> InvalidInputError:
    if error.errno == errno.EADDRINUSE:
        return InvalidInputError(
            f"port {port} on {host} is in use",
            hint=f"stop what listens there (`ss -ltnp 'sport = :{port}'` names it), or --set spec.api.port=0",
        )
    if error.errno == errno.EACCES:
        return InvalidInputError(f"port {port} needs privileges", hint="use a port above 1023")
    return InvalidInputError(f"cannot listen on {host}:{port}: {error.strerror}", hint="change spec.api.host or port")
