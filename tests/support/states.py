"""Training states and rank groups without processes: plain tensors cut anywhere, ranks as threads."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from modelyard.checkpoint import CommitFacts
from modelyard.checkpoint.fragments import DTYPES, Fragment
from modelyard.checkpoint.ranges import BUFFER, FROZEN, MASTER, Range
from modelyard.records import TensorRecord
from modelyard.yard import RunFolder, open_yard, take_over


@dataclass
class PlainState:
    """A `TrainingState` over tensors by (name, kind); of each, rank r owns from share r to share r + 1."""

    values: dict[tuple[str, str], torch.Tensor]
    shares: tuple[float, ...] = (0.0, 1.0)
    rank: int = 0
    refreshed: int = 0

    def tensors(self) -> tuple[TensorRecord, ...]:
        kinds = {MASTER, FROZEN, BUFFER}
        return tuple(
            TensorRecord(name=name, kind=kind, shape=tuple(value.shape), dtype=DTYPES[value.dtype])
            for (name, kind), value in self.values.items()
            if kind in kinds
        )

    def owned(self) -> Iterator[Fragment]:
        for fragment in self.live():
            size = len(fragment.tensor)
            low, high = (round(self.shares[self.rank + step] * size) for step in (0, 1))
            if low < high:
                yield fragment.part(low, high)

    def live(self) -> Iterator[Fragment]:
        for (name, kind), value in self.values.items():
            if value.numel():
                yield Fragment(Range(name, kind, 0, value.numel()), value.view(-1))

    def scalars(self) -> dict[str, Any]:
        return {"kinds": sorted({kind for _, kind in self.values} - {MASTER, FROZEN, BUFFER})}

    def prepare(self, scalars: dict[str, Any]) -> None:
        pass

    def refresh(self, scalars: dict[str, Any]) -> None:
        self.refreshed += 1

    def blank(self, shares: tuple[float, ...] = (0.0, 1.0), rank: int = 0) -> PlainState:
        """The same tensors without their values."""
        return PlainState({key: torch.zeros_like(value) for key, value in self.values.items()}, shares, rank)

    def same_values(self, other: PlainState) -> bool:
        """Bit for bit."""
        return self.values.keys() == other.values.keys() and all(
            torch.equal(value, other.values[key]) for key, value in self.values.items()
        )


def small_state(seed: int = 0) -> PlainState:
    """A trained parameter with Adam's states, a frozen one, a buffer."""
    chance = torch.Generator().manual_seed(seed)
    values = {("layer.weight", kind): torch.randn(7, 5, generator=chance) for kind in (MASTER, "exp_avg", "exp_avg_sq")}
    values["stem.weight", FROZEN] = torch.randn(11, generator=chance).bfloat16()
    values["seen", BUFFER] = torch.randint(100, (3,), generator=chance)
    return PlainState(values)


@dataclass
class ThreadRanks:
    """One rank of a group of threads."""

    rank: int
    world: int
    barrier: threading.Barrier
    board: dict[int, bytes]

    def gather(self, message: bytes) -> list[bytes]:
        self.board[self.rank] = message
        self.barrier.wait(60)
        messages = [self.board[rank] for rank in range(self.world)]
        self.barrier.wait(60)
        return messages


@dataclass
class Group:
    """Runs the same action on every rank of a group of threads; answers or exceptions by rank."""

    world: int
    board: dict[int, bytes] = field(default_factory=dict)

    def run(self, action: Callable[[ThreadRanks], Any]) -> list[Any]:
        barrier = threading.Barrier(self.world)
        with ThreadPoolExecutor(self.world) as pool:
            calls = [pool.submit(action, ThreadRanks(r, self.world, barrier, self.board)) for r in range(self.world)]
        return [call.exception() or call.result() for call in calls]


def facts(step: int, attempt: int, **metrics: float) -> CommitFacts:
    """Facts of a commit after that step."""
    return CommitFacts(
        step=step, attempt=attempt, tokens=step * 30, training_digest="sha256:" + "1" * 64,
        dataset_digest="sha256:" + "2" * 64, created="2026-11-22T17:25:09Z", metrics=metrics,
    )  # fmt: skip


def claimed_run(root: Any, name: str = "quickstart") -> tuple[RunFolder, int]:
    """A run of a new yard, and an attempt that held it."""
    run = open_yard(root).run(f"{name}-00000000")
    return run, claim(run)


def claim(run: RunFolder) -> int:
    """A later driver takes the run over."""
    from modelyard.checkpoint import committed_names

    with take_over(run, commits=lambda: committed_names(run)) as lease:
        return lease.attempt


def in_child(action: Callable[[], Any], *, fault_point: str = "") -> int:
    """Run an action in a forked child, armed with a fault point; its exit code: 1 after an error, -9 when killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ["MODELYARD_FAULT_POINT"] = fault_point
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return (
        -signal.SIGKILL
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        else os.waitstatus_to_exitcode(status)
    )
