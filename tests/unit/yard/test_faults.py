"""Fault points kill or freeze the process that a test arms, and nobody else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from modelyard.yard import faults


def _child(armed: str, points: list[str]) -> int:
    """The wait status of a child that passes these points and exits with 7."""
    child = os.fork()
    if child == 0:
        os.environ[faults.VARIABLE] = armed
        for name in points:
            faults.point(name)
        os._exit(7)
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return status


def test_the_counted_pass_of_the_named_point_kills() -> None:
    assert os.WTERMSIG(_child("a:2", ["a", "b", "a"])) == signal.SIGKILL
    assert os.WEXITSTATUS(_child("a:3", ["a", "b", "a"])) == 7
    assert os.WTERMSIG(_child("a", ["a"])) == signal.SIGKILL


def test_a_point_may_freeze_instead() -> None:
    assert os.WIFSTOPPED(_child("a:1:stop", ["a"]))


def test_with_a_marker_only_the_first_process_is_hit(tmp_path: Path) -> None:
    armed = f"a:1:kill:{tmp_path / 'marker'}"
    assert os.WTERMSIG(_child(armed, ["a"])) == signal.SIGKILL
    assert os.WEXITSTATUS(_child(armed, ["a"])) == 7


def test_nothing_happens_unless_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    faults.point("a")
