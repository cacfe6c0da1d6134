"""Processes that do the same thing to one yard at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard.registry import Registry, open_registry
from modelyard.yard import open_yard

TESTS = Path(__file__).resolve().parent.parent
ZERO = "sha256:" + "0" * 64


def race(what: str, yard: Path, racers: Sequence[Sequence[str]]) -> list[Any]:
    """Start a process for each list of arguments, let them go together, return what each answered."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "support.racers", what, str(yard), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for arguments in racers
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()


def register(registry: Registry, model: str, run_id: str) -> int:
    """The version's number."""
    return registry.register(
        "quickstart", Path(model), run_id=run_id, spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="0",
    ).version  # fmt: skip


def move(registry: Registry, who: str, times: str) -> list[int]:
    """The revisions of moves to and fro between versions 1 and 2."""
    revisions = []
    for number in range(int(times)):
        moved = registry.set_alias("quickstart", f"own-{who}", 1 + number % 2, by=who)
        revisions.append(moved.revision)
        registry.set_alias("quickstart", "shared", 1 + number % 2, by=who, reason=f"{who}-{number}")
    return revisions


def swap(registry: Registry, who: str, version: str) -> str:
    """Whether this process won a move that expects the alias to be new."""
    try:
        registry.set_alias("quickstart", "contested", int(version), by=who, expected_revision=0)
    except Exception as error:
        return type(error).__name__
    return "moved"


def _run(what: str, yard: str, *arguments: str) -> None:
    registry = open_registry(open_yard(Path(yard)))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(globals()[what](registry, *arguments)))


if __name__ == "__main__":
    _run(*sys.argv[1:])
