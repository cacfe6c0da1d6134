"""What every test shares: a quiet environment, and a last line that says what was skipped and why."""

from __future__ import annotations

import os
from collections import Counter

import pytest

QUIET = {
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
os.environ.update(QUIET)  # before any test module imports what reads them

_skipped: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped[_reason(report.longrepr)] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped[_reason(report.longrepr)] += 1


def pytest_unconfigure(config: pytest.Config) -> None:
    """After pytest's own closing line, so that this one is the last of `make test`."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not config.option.collectonly:
        reporter.write_line(skip_line(_skipped))


def skip_line(skipped: Counter[str]) -> str:
    """`skipped: 0`, or `skipped: 3 (2 no GPU, 1 no chromium)`, the most frequent reason first."""
    if not skipped:
        return "skipped: 0"
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    return f"skipped: {skipped.total()} ({reasons})"


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ").strip() or "no reason given"
