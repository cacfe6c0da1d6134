"""Drivers and workers as real processes that obey orders on stdin, so that a test may stop and wake them.

A player answers every order with one line of JSON: what it did, or the class of the error it met.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from modelyard.records import StageRecord
from modelyard.yard import Lease, RunFolder, check_attempt, claim_group, open_yard, publish, publish_stage, take_over
from modelyard.yard.faults import point

RUN = "job-0123abcd"
ZERO = "sha256:" + "0" * 64
TESTS = Path(__file__).resolve().parent.parent


class Player:
    """A process that plays a driver or a worker of one run."""

    def __init__(self, yard: Path, *, stop_at: str = "") -> None:
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        if stop_at:
            environment["MODELYARD_FAULT_POINT"] = stop_at
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.drivers", str(yard)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def order(self, what: str, **details: Any) -> None:
        """Give an order without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **details}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The answer to the oldest order that has none yet."""
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        self.order(what, **details)
        return self.answer()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        self.wait_until_stopped()

    def wait_until_stopped(self) -> None:
        """Return when the process has been stopped, by us or by itself at a fault point."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status

    def wake(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def commits(run: RunFolder) -> list[str]:
    """Checkpoint folders that are committed and count, oldest first: the reader's rule on the simplest commit."""
    from modelyard.yard import counted_commits

    marked = sorted(path.parent.name for path in run.checkpoints.glob("step-*/COMMITTED.json"))
    return counted_commits(run, [(name, int(name.rpartition(".a")[2])) for name in marked])


class _Script:
    """What a player can do."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.lease: Lease | None = None

    def take_over(self, stale_seconds: float = 60.0) -> dict[str, Any]:
        self.lease = take_over(
            self.run, commits=lambda: commits(self.run), stale_seconds=stale_seconds, beat_seconds=0.05
        )
        return {"attempt": self.lease.attempt}

    def claim_group(self, driver: int) -> dict[str, Any]:
        return {"attempt": claim_group(self.run, driver=driver, commits=lambda: commits(self.run))}

    def commit(self, step: int, attempt: int, guarded: bool = True) -> dict[str, Any]:
        def guard() -> None:
            check_attempt(self.run, attempt)

        guard()
        point("test.checked")
        path = self.run.checkpoints / f"step-{step:08d}.a{attempt}" / "COMMITTED.json"
        publish(path, b"{}", guard=guard if guarded else None)
        guard()
        return {"committed": step}

    def record(self, stage: str, outcome: str) -> dict[str, Any]:
        assert self.lease is not None
        record = StageRecord(
            stage=stage, input_digest=ZERO, attempt=self.lease.attempt, code_version="0", outputs=(), started="",
            completed="", details={"outcome": outcome},
        )  # fmt: skip
        publish_stage(self.run, record)
        return {"recorded": stage}

    def check(self) -> dict[str, Any]:
        assert self.lease is not None
        self.lease.check()
        return {}

    def release(self) -> dict[str, Any]:
        assert self.lease is not None
        self.lease.release()
        return {}


def _play(yard: Path) -> None:
    script = _Script(open_yard(yard).run(RUN))
    for line in sys.stdin:
        order = json.loads(line)
        what: Callable[..., dict[str, Any]] = getattr(script, order.pop("what"))
        try:
            answer = what(**order)
        except Exception as error:
            answer = {"error": type(error).__name__, "message": str(error), "hint": getattr(error, "hint", "")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _play(Path(sys.argv[1]))
