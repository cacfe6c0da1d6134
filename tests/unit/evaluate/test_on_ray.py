"""The process that scores: what it prints is kept, without secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modelyard.telemetry import MASK

PROGRAM = """
import os, sys
from types import SimpleNamespace
from modelyard.evaluate import on_ray

def score(task, report, *, device):
    print("refused", os.environ["PLANTED_TOKEN"])
    os.write(2, b"a C library's word\\n")
    return SimpleNamespace(to_json=lambda: b"{}")

on_ray.run_task = score
on_ray._score(None, 1, False, sys.argv[1])
"""


def test_its_own_output_goes_to_a_file_without_secrets(tmp_path: Path) -> None:
    environment = {**os.environ, "PLANTED_TOKEN": "zq9Xw2Lm8Kp4abc"}
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environment, check=True, capture_output=True
    )
    assert b"library" not in told.stderr
    lines = (tmp_path / "evaluate.log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == ["a C library's word", f"refused {MASK}"]
