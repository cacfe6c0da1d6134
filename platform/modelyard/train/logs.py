"""A worker's own log: everything it prints, from Python or from C, goes to one file, secrets taken out."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from modelyard.telemetry import RedactingStream


@contextlib.contextmanager
def worker_log(path: Path) -> Iterator[None]:
    """Send this process's standard output and error to `path` (appended) until the end of the block.

    The descriptors themselves are turned, so that warnings of C libraries land there too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    file = path.open("a", encoding="utf-8", errors="replace")
    thread = threading.Thread(target=_drain, args=(reader, RedactingStream(file)), name="worker-log", daemon=True)
    thread.start()
    sys.stdout.flush()
    sys.stderr.flush()
    kept = (os.dup(1), os.dup(2))
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        thread.join(timeout=5)  # a child that still holds the pipe must not hold us
        if not thread.is_alive():
            with contextlib.suppress(OSError):  # a full disk: a log never fails the work
                file.close()


def _drain(reader: int, stream: RedactingStream) -> None:
    with os.fdopen(reader, encoding="utf-8", errors="replace") as text:
        for line in text:
            stream.write(line)
            stream.flush()
    stream.close()
