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


def _mounted(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    mount = f"mount -t tmpfs -o size=1m modelyard {shlex.quote(str(folder))}"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(
        [*ALONE, f"{mount} && {command}"], capture_output=True, text=True, check=False, env=environment, timeout=120
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
