"""The short form of benchmarks/kills.py: four kills, one of them in the commit, and the same weights in the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kills.py"
PLAN = "worker:checkpoint.commit.before,worker:step,driver:step,driver:registry.copied"


@pytest.mark.timeout(900)
def test_four_kills_cost_no_more_than_what_lay_after_the_last_commit(tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes.json"
    command = [sys.executable, str(SCRIPT), "--plan", PLAN, "--steps", "150", "--json", str(outcomes)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=850)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [f"{kill['victim']}:{kill['place']}" for kill in json.loads(outcomes.read_text())] == PLAN.split(",")
    assert "weights the same every time" in result.stdout
