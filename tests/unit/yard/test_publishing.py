"""Durable writing, seen from above; what happens at each system call is tests/integration/test_write_faults.py."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from modelyard.errors import ConflictError, FencedError, StorageError
from modelyard.yard import compare_and_swap, discard, durable_folder, publish, publishing, replace, sweep


def test_publish_puts_once_and_the_same_content_again_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "record.json"
    publish(path, b"one")
    publish(path, b"one")
    with pytest.raises(ConflictError, match="exists already with other content"):
        publish(path, b"two")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_replace_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for content in (b"one", b"two", b""):
        replace(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("write", [publish, replace])
def test_a_guard_that_raises_leaves_the_old_content(tmp_path: Path, write: object) -> None:
    path = tmp_path / "status.json"

    def fenced() -> None:
        raise FencedError("taken over")

    with pytest.raises(FencedError):
        write(path, b"late", guard=fenced)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_compare_and_swap_wants_what_it_has_seen(tmp_path: Path) -> None:
    path = tmp_path / "alias"
    with pytest.raises(ConflictError):
        compare_and_swap(path, b"one", b"two")
    compare_and_swap(path, None, b"one")
    with pytest.raises(ConflictError):
        compare_and_swap(path, None, b"two")
    compare_and_swap(path, b"one", b"two")
    assert path.read_bytes() == b"two"


def test_a_lock_held_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(publishing, "LOCK_WAIT_SECONDS", 0.05)
    with (tmp_path / ".alias.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match=r"\.alias\.lock has been held"):
            compare_and_swap(tmp_path / "alias", None, b"one")
    compare_and_swap(tmp_path / "alias", None, b"one")


def test_of_many_publishers_one_wins_and_all_others_are_told(tmp_path: Path) -> None:
    path = tmp_path / "claim.json"
    start = threading.Barrier(8)
    told: list[str] = []

    def claim(who: int) -> None:
        start.wait()
        try:
            publish(path, f"{who}".encode() * 1000)
            told.append("won")
        except ConflictError:
            told.append("lost")

    threads = [threading.Thread(target=claim, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["lost"] * 7 + ["won"]
    assert len(set(path.read_text())) == 1


def test_sweep_removes_old_temporary_files_alone(tmp_path: Path) -> None:
    old, young, other = tmp_path / ".a.1-2.tmp", tmp_path / ".b.1-2.tmp", tmp_path / "c.tmp"
    for path in (old, young, other):
        path.write_text("x")
    os.utime(old, (1, 1))
    assert sweep(tmp_path, older_than_seconds=60) == [old]
    assert sorted(tmp_path.iterdir()) == sorted([young, other])


def test_sweep_removes_folders_that_lost_their_names(tmp_path: Path) -> None:
    (tmp_path / ".train.1-2.tmp" / "logs").mkdir(parents=True)
    (tmp_path / ".train.1-2.tmp" / "logs" / "rank-0.log").write_text("x")
    sweep(tmp_path, older_than_seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_discard_removes_files_folders_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "train" / "logs").mkdir(parents=True)
    (tmp_path / "train" / "logs" / "rank-0.log").write_text("x")
    (tmp_path / "status.json").write_text("{}")
    for name in ("train", "status.json", "neither/here"):
        discard(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_discard_removes_nothing_for_a_fenced_writer(tmp_path: Path) -> None:
    def fenced() -> None:
        raise FencedError("taken over")

    (tmp_path / "train").mkdir()
    with pytest.raises(FencedError):
        discard(tmp_path / "train", guard=fenced)
    assert [entry.name for entry in tmp_path.iterdir()] == ["train"]


def test_a_file_where_a_folder_should_be_is_a_storage_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file, not a folder") as caught:
        replace(tmp_path / "file" / "status.json", b"{}")
    assert caught.value.hint
    with pytest.raises(StorageError):
        durable_folder(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="permission denied"):
            publish(tmp_path / "record.json", b"x")
    finally:
        tmp_path.chmod(0o755)
