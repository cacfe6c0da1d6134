from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from modelyard.cli.app import app
from support.sample_run import RUN_ID, Sample, sample_yard


def test_the_report_of_a_jobs_latest_run(tmp_path: Path) -> None:
    Sample(sample_yard(tmp_path)).write()
    yard = str(tmp_path / "yard")
    done = CliRunner().invoke(app, ["report", "quickstart", "--yard", yard, "-o", "json"])
    told = json.loads(done.stdout)
    assert told["run"] == RUN_ID
    assert Path(told["report"]).read_text().startswith("<!DOCTYPE html>")
    assert CliRunner().invoke(app, ["report", RUN_ID, "--yard", yard]).stdout.strip() == told["report"]


def test_the_report_of_a_run_whose_driver_is_gone_says_so(tmp_path: Path) -> None:
    run = Sample(sample_yard(tmp_path)).write()
    standing = json.loads(run.status.read_text())
    run.status.write_text(json.dumps({**standing, "phase": "Training"}))
    CliRunner().invoke(app, ["report", RUN_ID, "--yard", str(tmp_path / "yard")])
    assert "Interrupted, driver gone" in run.report.read_text()
