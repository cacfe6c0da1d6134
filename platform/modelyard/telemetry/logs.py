"""Log set-up: everything goes to a file, with secrets taken out; the terminal is left to the display.

`configure_logging` is the driver's; `worker_log` the processes' that work for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from modelyard.telemetry.redaction import redact

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class RedactingFilter(logging.Filter):
    """Takes secrets out of a record's message, arguments and traceback; lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a library's broken format: keep what it said
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


class _QuietFileHandler(logging.FileHandler):
    """Loses what a full disk does not take: the default prints a traceback on the terminal for every line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def configure_logging(file: Path, *, level: int = logging.INFO) -> logging.Handler:
    """Send all logging of this process to `file` (appended), and nothing to the terminal.

    Returns the handler, so that a caller may take it off again.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = _QuietFileHandler(file, mode="a", encoding="utf-8", errors="replace")
    formatter = logging.Formatter(LINE, datefmt="%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    return handler


class RedactingStream:
    """A text stream before another (a worker's log file): whole lines go through, with secrets taken out.

    Text without a line end is held back until its line is whole, at the latest until `close`; a private key block
    until its end, so that it is seen whole. What a full disk does not take is lost: a log never fails the work.
    """

    def __init__(self, inner: TextIO, *, max_held_characters: int = 65536) -> None:
        self._inner = inner
        self._held = ""
        self._max_held = max_held_characters

    def write(self, text: str) -> int:
        self._held += text
        if "\n" in text or "\r" in text or len(self._held) > self._max_held:
            self._emit()
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.flush()

    def close(self) -> None:
        """Write what is held back; the inner stream stays open."""
        self._pass_on(self._held)
        self._held = ""
        self.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._inner.fileno()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    @property
    def encoding(self) -> str:
        return self._inner.encoding

    @property
    def errors(self) -> str | None:
        return self._inner.errors

    @property
    def closed(self) -> bool:
        return self._inner.closed

    def _emit(self) -> None:
        end = max(self._held.rfind("\n"), self._held.rfind("\r")) + 1
        if len(self._held) > self._max_held:
            end = end or len(self._held)
        elif (begin := self._held.rfind("-----BEGIN ")) >= 0 and "-----END " not in self._held[begin:]:
            end = min(end, begin)
        if end:
            self._pass_on(self._held[:end])
            self._held = self._held[end:]

    def _pass_on(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._inner.write(redact(text))


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
