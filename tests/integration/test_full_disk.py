"""A disk that is really full, and then really read-only: a tmpfs in a mount name space of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
ALONE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def _mounted(folder: Path, command: str, size: str = "1m") -> subprocess.CompletedProcess[str]:
    mount = f"mount -t tmpfs -o size={size} modelyard {shlex.quote(str(folder))}"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(
        [*ALONE, f"{mount} && {command}"], capture_output=True, text=True, check=False, env=environment, timeout=280
    )


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        possible = _mounted(folder, "true").returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("no mount name spaces for this user")
    return folder


def test_a_full_and_a_read_only_disk_are_told_and_leave_what_stood_intact(disk: Path) -> None:
    command = shlex.join([sys.executable, "-m", "support.small_disk", str(disk)])
    done = _mounted(disk, command)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["full"]["class"] == "StorageError"
    assert "the disk is full" in told["full"]["message"]
    assert "free some space" in told["full"]["hint"]
    assert told["before"] >= 2  # all of them verified after the refusal
    assert told["leftovers"] == []
    assert told["after"] == told["before"] + 1  # the refused registration, done again after space was made
    assert len(told["readOnly"]) == 3
    for refusal in told["readOnly"]:
        assert "the file system is read-only" in refusal["message"]
        assert "--yard" in refusal["hint"]


def test_a_run_whose_disk_fills_up_keeps_its_commits_and_goes_on_when_there_is_space(disk: Path) -> None:
    command = shlex.join([sys.executable, "-m", "support.full_disk_run", str(disk)])
    done = _mounted(disk, command, size="64m")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    full, again, read_only = told["full"], told["again"], told["readOnly"]
    assert full["code"] == 1, full["printed"]
    assert "the disk is full" in full["printed"]
    assert "free some space" in full["printed"]
    assert "Traceback" not in full["printed"]
    assert full["steps"] == [20]
    assert again["code"] == 0, again["printed"]
    assert again["rows"].count(20) == 1  # from the commit that stood, not from the beginning
    assert set(again["rows"]) == set(range(1, 121))
    assert read_only["code"] == 1, read_only["printed"]
    assert "the file system is read-only" in read_only["printed"]
    assert "--yard" in read_only["printed"]
