"""What is decided without a process: batches, lengths, restarts, first causes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelyard.data import IGNORED, Rows
from modelyard.errors import IntegrityError, InvalidInputError, NonFiniteLossError, StorageError, TrainingError
from modelyard.records import AttemptRecord
from modelyard.spec import ScheduleSpec
from modelyard.train import WorkerFailure
from modelyard.train.batches import chance_seed, make_batch, num_micro_steps
from modelyard.train.failures import FailureNote, error_of, first_cause, note_of, take_notes, write_note
from modelyard.train.plan import rows_per_step, total_steps
from modelyard.train.restarts import Restarts, failures_before
from support.training_jobs import TinyYard

CPU = torch.device("cpu")
LOST = WorkerFailure("WorkerLost", "gone")


def rows(number: int) -> Rows:
    ids = np.arange(number * 4, dtype=np.int64).reshape(number, 4)
    return Rows(ids, ids, np.zeros_like(ids), np.zeros_like(ids), np.zeros((0, 5), dtype=np.int64))


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 9))
def test_ranks_run_as_many_micro_steps_and_lose_no_row(num_rows: int, world: int, at_once: int) -> None:
    steps = num_micro_steps(num_rows, world, 256, at_once)
    seen = []
    for rank in range(world):
        share = num_rows * (rank + 1) // world - num_rows * rank // world
        batch = make_batch(rows(share), steps, CPU)
        assert len(batch.micro_batches) == steps
        assert all(len(part.labels) <= at_once for part in batch)
        assert sum(int((part.labels != IGNORED).sum()) for part in batch) == batch.num_labels == share * 4
        seen.append(share)
    assert sum(seen) == num_rows


def test_a_long_row_is_a_micro_step_of_its_own() -> None:
    assert num_micro_steps(8, 2, 100_000) == 4
    assert num_micro_steps(8, 2, 256) == 1


def test_chance_differs_by_each_of_its_four() -> None:
    seeds = {chance_seed(*who) for who in [(1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2)]}
    assert len(seeds) == 5
    assert chance_seed(17, 3, 0, 0) == chance_seed(17, 3, 0, 0) < 2**63


class Epochs:
    """Ten steps each."""

    def steps_for(self, epochs: float) -> int:
        return int(epochs * 10)


def test_lengths() -> None:
    job = TinyYard.job()
    assert rows_per_step(job) == 8
    assert total_steps(job, Epochs()) == 30
    optimization = job.spec.optimization
    for change, expected in [({"tokens": 257}, 2), ({"epochs": 2.5}, 25)]:
        changed = optimization.model_copy(update={"steps": None, **change})
        spec = job.spec.model_copy(update={"optimization": changed})
        assert total_steps(job.model_copy(update={"spec": spec}), Epochs()) == expected


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"name": "cosine", "warmup_steps": 25}, "warmupSteps is 25, but 2.5 epochs of this data are only 25 steps"),
        (
            {"name": "wsd", "warmup_steps": 10, "decay_steps": 16},
            "decaySteps is 16 after 10 of warm-up, but 2.5 epochs",
        ),
        ({"name": "wsd", "warmup_steps": 10, "decay_steps": 15}, ""),
    ],
)
def test_a_schedule_must_fit_into_the_epochs(schedule: dict[str, Any], said: str) -> None:
    job = TinyYard.job()
    change = {"steps": None, "epochs": 2.5, "schedule": ScheduleSpec(**schedule)}
    spec = job.spec.model_copy(update={"optimization": job.spec.optimization.model_copy(update=change)})
    with pytest.raises(InvalidInputError, match=said) if said else nullcontext():
        assert total_steps(job.model_copy(update={"spec": spec}), Epochs()) == 25


def test_restarts_count_failures_in_a_row_and_a_commit_begins_anew() -> None:
    restarts = Restarts(allowed=2, committed=10)
    assert restarts.again(LOST, committed=10)
    assert restarts.again(LOST, committed=10)
    assert restarts.again(LOST, committed=20), "a commit came between"
    assert restarts.again(LOST, committed=20)
    assert not restarts.again(LOST, committed=20)
    fallen_back = Restarts(allowed=1, committed=100)
    assert fallen_back.again(LOST, committed=100)
    assert fallen_back.again(LOST, committed=60), "the newest commit was broken; one after an older one came between"
    assert not Restarts(5, 0).again(replace(LOST, retryable=False), committed=50)


def claim(attempt: int, role: str, *, stages: bool = True) -> AttemptRecord:
    return AttemptRecord(
        attempt=attempt, role=role, driver=1, host="here", pid=1, process_start="1", claimed="2026-01-01T00:00:00Z",
        stages={"prepare": "sha256:0"} if stages else {},
    )  # fmt: skip


FIRST = [claim(1, "driver", stages=False), claim(2, "group"), claim(3, "group")]


@pytest.mark.parametrize(
    ("claims", "commit_attempt", "failures"),
    [
        pytest.param([claim(1, "driver", stages=False)], 0, 0, id="a first start"),
        pytest.param([*FIRST, claim(4, "driver")], 0, 2, id="two groups died without a commit"),
        pytest.param([*FIRST, claim(4, "driver")], 3, 0, id="the last one committed"),
        pytest.param([*FIRST, claim(4, "driver"), claim(5, "group"), claim(6, "driver")], 3, 1, id="one since"),
        pytest.param([*FIRST, claim(4, "driver", stages=False)], 0, 0, id="a fresh start forgets"),
    ],
)
def test_failures_of_earlier_attempts_count_until_a_commit(
    claims: list[AttemptRecord], commit_attempt: int, failures: int
) -> None:
    assert failures_before(claims, commit_attempt) == failures


def note(rank: int, message: str, *, time: float = 1.0, failure_class: str = "Internal") -> FailureNote:
    return FailureNote(rank, time, failure_class, "RuntimeError", message, step=4)


def noted(rank: int, error: Exception, *, time: float = 1.0) -> FailureNote:
    return note_of(error, rank=rank, step=4, now=time)


GLOO = "[pair.cc:553] Connection closed by peer [127.0.0.1]:32133"
LOST_PEER = RuntimeError(GLOO)
FULL = StorageError("cannot write runs/websocket-bot-1a2b3c4d/train: the disk is full")
CAUSES = {
    "a rank's own error, though the other's word came first": (
        [noted(0, LOST_PEER, time=1.0), note(1, "division by zero", time=1.1)], {}, "Internal", 1),
    "a death, not what broke after it": ([noted(0, LOST_PEER)], {1: "Worker exit type: SYSTEM_ERROR"}, "WorkerLost", 1),
    "our own error, whatever names stand in it": (
        [noted(0, LOST_PEER, time=0.9), noted(1, FULL)], {0: "The actor died"}, "Storage", 1),
    "a word before the death": ([note(1, "stood", failure_class="Hang")], {1: "exit code 86"}, "Hang", 1),
    "a rank that stood, not the one that waited for it": (
        [note(0, "stood in 'waiting for the other workers'", time=1.0), note(1, "stood in 'data'", time=1.5)],
        {}, "Internal", 1),
    "Ray kills for memory": ([], {0: "Task was killed due to the node running low on memory."}, "OutOfMemory", 0),
    "Ray only guesses at memory": ([], {0: "(1) killed by the OOM killer due to high memory usage"}, "WorkerLost", 0),
    "the controller died": ([], {-1: "The actor died"}, "WorkerLost", None),
    "nobody said anything": ([], {}, "WorkerLost", None),
}  # fmt: skip


@pytest.mark.parametrize("case", CAUSES)
def test_the_first_cause_is_told(case: str) -> None:
    notes, deaths, failure_class, rank = CAUSES[case]
    failure = first_cause(notes, deaths)
    assert (failure.failure_class, failure.rank) == (failure_class, rank)


def test_notes_travel_through_a_folder_once(tmp_path: Path) -> None:
    folder = tmp_path / "failures"
    try:
        raise StorageError("the disk is full", hint="make room")
    except StorageError as error:
        write_note(folder, note_of(error, rank=2, step=7, now=50.0))
    write_note(folder, note(3, "of an earlier start", time=9.0))
    (told,) = take_notes(folder, since=10.0)
    assert (told.rank, told.step, told.failure_class, told.hint) == (2, 7, "Storage", "make room")
    assert take_notes(folder, since=0.0) == []


def test_memory_and_collateral_errors_are_known_by_their_words() -> None:
    assert (
        note_of(RuntimeError("DefaultCPUAllocator: can't allocate memory"), rank=0, step=1, now=0).failure_class
        == "OutOfMemory"
    )
    assert not note_of(ValueError("a bug"), rank=0, step=1, now=0).retryable
    assert noted(0, LOST_PEER).retryable


@pytest.mark.parametrize(
    ("error", "collateral"),
    [
        (RuntimeError("[enforce fail at ../gloo/transport/tcp/device.cc:83] rv != -1"), True),
        (RuntimeError("Rank 0 Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3)"), True),
        (RuntimeError("The client socket has timed out after 600s"), True),
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (IntegrityError("/data/nccl-corpus/yard/data/12/train/shard-00000.bin has 3 bytes; its index says 4"), False),
        (RuntimeError("/data/nccl-corpus/x.bin cannot be opened"), False),
        (FileNotFoundError(2, "No such file or directory", "/data/nccl/x.bin"), False),
    ],
)
def test_only_a_librarys_words_about_its_peers_are_collateral(error: Exception, collateral: bool) -> None:
    assert (noted(0, error).collateral, noted(0, error).retryable) == (collateral, collateral)


def test_failures_are_raised_as_their_class() -> None:
    raised = error_of(WorkerFailure("NonFiniteLoss", "step 3: …", rank=1, step=3, retryable=False))
    assert isinstance(raised, NonFiniteLossError)
    assert (raised.rank, raised.step, raised.retryable) == (1, 3, False)
    assert isinstance(error_of(WorkerFailure("Storage", "full")), StorageError)
    assert type(error_of(WorkerFailure("Internal", "a bug"))) is TrainingError
