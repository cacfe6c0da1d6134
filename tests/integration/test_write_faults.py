"""A crash, a full disk, a failing or read-only disk at each system call of each write: the old state or the new.

Real processes, real system calls: see support/faulty_disk.py. After each fault the same write, again, succeeds.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelyard.registry import open_registry
from modelyard.telemetry import read_rows
from modelyard.yard import claims, open_yard, publish_stage, read_stage, take_over
from support import yard_writes
from support.faulty_disk import FAULTS, FULL, Fault, FaultyDisk, faulty_disk
from support.yard_writes import NEW, OLD, RUN, stage_record

MAX_CALLS = 400  # more system calls than any write makes: the loop ends, whatever happens


@dataclass(frozen=True)
class Write:
    """A write: what stands before it, what it does, and how to tell what stands afterwards ("old" or "new")."""

    function: str
    prepare: Callable[[Path], None]
    state: Callable[[Path], str]


def _nothing(folder: Path) -> None:
    pass


def _old_record(folder: Path) -> None:
    (folder / "record.json").write_bytes(OLD)


def _record(path: Path) -> str:
    if not path.exists():
        return "old"
    return {OLD: "old", NEW: "new"}[path.read_bytes()]


def _old_rows(folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"row": "old"}\n')


def _rows(folder: Path) -> str:
    rows = [row.get("row") or row["event"] for row in read_rows(folder / "rows.jsonl")]
    assert rows[0] == "old"
    assert set(rows[1:]) <= {"new"}
    return "new" if len(rows) > 1 else "old"


def _yard(folder: Path) -> str:
    return "new" if (folder / "yard" / "yard.json").exists() and open_yard(folder / "yard") else "old"


def _old_driver(folder: Path) -> None:
    take_over(open_yard(folder / "yard").run(RUN)).release()


def _claims(folder: Path) -> str:
    standing = claims(open_yard(folder / "yard").run(RUN))
    assert [claim.attempt for claim in standing] == list(range(1, len(standing) + 1))
    return "new" if len(standing) > 1 else "old"


def _old_stage(folder: Path) -> None:
    run = open_yard(folder / "yard").run(RUN)
    take_over(run).release()
    publish_stage(run, stage_record("old"))


def _stage(folder: Path) -> str:
    record = read_stage(open_yard(folder / "yard").run(RUN), "train")
    assert record is not None
    return str(record.details["outcome"])


def _old_version(folder: Path) -> None:
    for number, name in enumerate(("model", "second")):
        (folder / name / "tokenizer").mkdir(parents=True)
        (folder / name / "config.json").write_text(f'{{"number": {number}}}')
        (folder / name / "model.safetensors").write_bytes(bytes([number]) * 3000)
        (folder / name / "tokenizer" / "tokenizer.json").write_text("{}")
    yard_writes.register(folder)


def _versions(folder: Path) -> str:
    registry = open_registry(open_yard(folder / "yard"))
    versions = registry.versions("quickstart")
    assert [record.version for record in versions] == list(range(1, len(versions) + 1))
    for record in versions:
        registry.verify(record)
    return "new" if len(versions) > 1 else "old"


def _old_alias(folder: Path) -> None:
    _old_version(folder)
    yard_writes.register_second(folder)
    open_registry(open_yard(folder / "yard")).set_alias("quickstart", "stable", 1, by="test")


def _alias(folder: Path) -> str:
    record = open_registry(open_yard(folder / "yard")).alias("quickstart", "stable")
    assert record is not None
    assert [change.version for change in record.history] == [1, 2][: record.revision]
    return {1: "old", 2: "new"}[record.version]


WRITES = (
    Write("publish_new", _nothing, lambda folder: _record(folder / "record.json")),
    Write("publish_in_new_folders", _nothing, lambda folder: _record(folder / "a" / "b" / "record.json")),
    Write("replace_old", _old_record, lambda folder: _record(folder / "record.json")),
    Write("swap_old", _old_record, lambda folder: _record(folder / "record.json")),
    Write("append", _old_rows, _rows),
    Write("add_event", _old_rows, _rows),
    Write("make_yard", _nothing, _yard),
    Write("claim_run", _old_driver, _claims),
    Write("claim_workers", _old_driver, _claims),
    Write("record_stage", _old_stage, _stage),
    Write("register_second", _old_version, _versions),
    Write("move_alias", _old_alias, _alias),
)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDisk]:
    with faulty_disk(tmp_path_factory.mktemp("disk"), calls="support.yard_writes") as disk:
        yield disk


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where the writes go: in memory when there is such a place, because each of thousands ends in an fsync."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.function)
def test_a_fault_at_any_system_call_leaves_the_old_state_or_the_new(
    disk: FaultyDisk, place: Path, write: Write, fault: Fault
) -> None:
    assert _try_each_call(disk, place, write, fault) >= 1


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("write", [WRITES[0], WRITES[8]], ids=lambda write: write.function)
def test_the_same_holds_where_the_file_system_has_no_hard_links(
    disk: FaultyDisk, place: Path, write: Write, fault: Fault
) -> None:
    assert _try_each_call(disk, place, write, fault, never="link") >= 1


@pytest.mark.parametrize(
    ("number", "words", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "free some space"),
        (errno.EROFS, "the file system is read-only", "--yard"),
        (errno.EACCES, "permission denied", "--yard"),
    ],
)
def test_a_refusal_says_what_is_wrong_what_is_intact_and_what_to_do(
    disk: FaultyDisk, place: Path, number: int, words: str, hint: str
) -> None:
    for write in WRITES:
        folder = _fresh(place, write)
        outcome = disk.call(write.function, folder, fault=Fault("from the start", FULL, number), at=1)
        assert outcome.error == "StorageError", outcome.message
        assert words in outcome.message
        assert hint in outcome.message
        assert "intact" in outcome.message
        assert write.state(folder) == "old"


def test_content_is_durable_before_its_name_is(disk: FaultyDisk, tmp_path: Path) -> None:
    for function, naming in (("publish_new", "link"), ("replace_old", "rename"), ("register_second", "rename")):
        folder = _fresh(tmp_path, next(write for write in WRITES if write.function == function))
        calls = [call.split()[0] for call in disk.call(function, folder).calls]
        named = [number for number, call in enumerate(calls) if call == naming]
        assert named
        for number in named:
            since_created = calls[max(at for at in range(number) if calls[at] == "create") : number]
            assert "fsync" in since_created, calls
            assert "fsync" in calls[number:], calls


def _try_each_call(disk: FaultyDisk, tmp_path: Path, write: Write, fault: Fault, never: str = "") -> int:
    """Fault the first call, the second, … until the write ends unharmed; returns how many calls were faulted."""
    for at in range(1, MAX_CALLS):
        folder = _fresh(tmp_path, write)
        outcome = disk.call(write.function, folder, fault=fault, at=at, never=never)
        if not outcome.hit:
            assert not outcome.killed
            assert outcome.error == "", outcome.message
            assert write.state(folder) == "new"
            return at - 1
        where = f"call {at}: {outcome.calls[-1] if outcome.calls else ''}"
        assert outcome.error in ("", "StorageError"), f"{where}: {outcome.error}: {outcome.message}"
        after = write.state(folder)
        assert after in ("old", "new"), where
        if not outcome.killed and not outcome.error:
            assert after == "new", f"{where}: said to be done, but is not"
        again = disk.call(write.function, folder, never=never)
        swapped = write.function == "swap_old" and after == "new"
        assert again.error == ("ConflictError" if swapped else ""), f"{where}: {again.message}"
        assert write.state(folder) == "new", where
    raise AssertionError(f"{write.function} did not end within {MAX_CALLS} system calls")


def _fresh(tmp_path: Path, write: Write) -> Path:
    folder, template = tmp_path / "case", tmp_path / write.function
    if not template.exists():
        template.mkdir()
        write.prepare(template)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return folder
