"""The suite's own account: what was skipped and why, how often Ray was started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SUITE = """
import subprocess, sys, pytest

@pytest.mark.parametrize("number", [1, 2])
def test_without_a_gpu(number):
    pytest.skip("no GPU")

@pytest.mark.skipif(True, reason="no chromium")
def test_without_a_browser():
    raise AssertionError

def test_that_starts_what_is_called_gcs_server(tmp_path):
    program = tmp_path / "gcs_server"
    program.write_text("#!/bin/sh\\n")
    program.chmod(0o755)
    subprocess.run([str(program)], check=True)
    loop = f"import subprocess\\nfor _ in range({STARTS}): subprocess.run([{str(program)!r}])"
    subprocess.run([sys.executable, "-c", loop], check=True)
"""


def run_suite(folder: Path, starts: int, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "support").symlink_to(ROOT / "tests" / "support")
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_sample.py").write_text(SUITE.replace("{STARTS}", str(starts)))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [[], ["-n", "2"]], ids=["one process", "two"])
def test_the_last_line_counts_the_skipped_by_reason(tmp_path: Path, words: list[str]) -> None:
    done = run_suite(tmp_path, 1, *words)
    *_, closing, starts, skipped = done.stdout.strip().splitlines()
    assert done.returncode == 0, done.stdout
    assert closing.startswith("1 passed, 3 skipped in ")
    assert starts == "starts of Ray: 2 (at most 25)"
    assert skipped == "skipped: 3 (2 no GPU, 1 no chromium)"


def test_too_many_starts_fail_the_suite(tmp_path: Path) -> None:
    done = run_suite(tmp_path, starts=25)
    assert done.returncode == 1, done.stdout
    assert "starts of Ray: 26 (at most 25)" in done.stdout
