"""A disk that fails on order: real processes, real system calls, a preloaded library (faulty_disk.c) between them.

A worker process is started once with the library; for each order it forks, and the fork runs one function on one
folder with one fault armed. gcc is needed, as everywhere in this project's set-up.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".c")
PASS, KILL, TORN, FAIL, FULL = range(5)


@dataclass(frozen=True)
class Fault:
    """`mode` as in the C source; `number` is the errno of a call that fails."""

    name: str
    mode: int
    number: int = 0


FAULTS = (
    Fault("crash before the call", KILL),
    Fault("crash in the middle of the write", TORN),
    Fault("EIO once", FAIL, errno.EIO),
    Fault("ENOSPC from here on", FULL, errno.ENOSPC),
)


@dataclass(frozen=True)
class Outcome:
    """How one faulty call ended: `hit` says whether the fault was reached; `error` is the exception's class name."""

    killed: bool
    hit: bool
    error: str = ""
    message: str = ""
    calls: tuple[str, ...] = ()


class FaultyDisk:
    """Orders to the worker: run `function` (of module `calls`) on a folder with a fault at the N-th system call."""

    def __init__(self, worker: subprocess.Popen[str], log: Path) -> None:
        self._worker = worker
        self._log = log

    def call(self, function: str, folder: Path, *, fault: Fault | None = None, at: int = 0, never: str = "") -> Outcome:
        """Run one function; `never` names a call that fails with EOPNOTSUPP always (`link`)."""
        mode, number = (fault.mode, fault.number) if fault else (PASS, 0)
        if never:
            number = errno.EOPNOTSUPP
        order = {
            "function": function, "folder": str(folder), "mode": mode, "at": at, "number": number, "never": never,
            "log": str(self._log),
        }  # fmt: skip
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps(order) + "\n")
        self._worker.stdin.flush()
        answer = json.loads(self._worker.stdout.readline())
        calls = tuple(self._log.read_text().splitlines()) if self._log.exists() else ()
        return Outcome(**answer, calls=calls)


@contextmanager
def faulty_disk(folder: Path, *, calls: str) -> Iterator[FaultyDisk]:
    """Build the library, start the worker; `calls` is the importable module of the functions to be run."""
    library = folder / "faulty_disk.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(SOURCE.parent.parent)}
    worker = subprocess.Popen(
        [sys.executable, "-m", "support.faulty_disk", calls],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield FaultyDisk(worker, folder / "calls.log")
    finally:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait(timeout=30)


def _work(module: str) -> None:
    calls = importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            outcome = _attempt(calls, order)
            os.write(write, json.dumps(outcome).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        print(answer.decode() if answer else json.dumps({"killed": killed, "hit": killed}), flush=True)


def _attempt(calls: Any, order: dict[str, Any]) -> dict[str, Any]:
    import ctypes

    library = ctypes.CDLL(None)
    function = getattr(calls, order["function"])
    folder = Path(order["folder"])
    if order["never"]:
        library.faulty_never(order["never"].encode(), order["number"])
    library.faulty_arm(str(folder).encode(), order["mode"], order["at"], order["number"], order["log"].encode())
    error = message = ""
    try:
        function(folder)
    except Exception as caught:
        error, message = type(caught).__name__, f"{caught} [{getattr(caught, 'hint', '')}]"
    hit = bool(library.faulty_hit())
    return {"killed": False, "hit": hit, "error": error, "message": message}


if __name__ == "__main__":
    _work(sys.argv[1])
