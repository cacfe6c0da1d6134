"""A script that runs alone on a disk of its own of 1 MiB: fills it, then finds it read-only, and reports as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from modelyard.errors import StorageError
from modelyard.registry import Registry, open_registry
from modelyard.yard import Yard, open_yard, replace, take_over

ZERO = "sha256:" + "0" * 64


def _register(registry: Registry, disk: Path, number: int) -> None:
    model = disk / "model"
    model.mkdir(exist_ok=True)
    (model / "model.safetensors").write_bytes(bytes([number]) * 150_000)
    registry.register(
        "quickstart", model, run_id=f"job-{number:08x}", spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="0",
    )  # fmt: skip


def _refusal(error: StorageError | None) -> dict[str, str]:
    return {"class": type(error).__name__, "message": str(error), "hint": getattr(error, "hint", "")}


def _fill(registry: Registry, disk: Path) -> dict[str, str]:
    for number in range(1, 100):
        try:
            _register(registry, disk, number)
        except StorageError as error:
            return _refusal(error)
    raise AssertionError("the disk never filled")


def _standing(registry: Registry) -> int:
    versions = registry.versions("quickstart")
    for record in versions:
        registry.verify(record)
    return len(versions)


def _read_only(yard: Yard) -> list[dict[str, str]]:
    refusals = []
    for write in (
        lambda: take_over(yard.run("job-0123abcd")),
        lambda: replace(yard.run("job-0123abcd").status, b"{}"),
        lambda: open_yard(yard.root.parent / "other"),
    ):
        try:
            write()
        except StorageError as error:
            refusals.append(_refusal(error))
    return refusals


def main(disk: Path) -> dict[str, Any]:
    yard = open_yard(disk / "yard")
    registry = open_registry(yard)
    full = _fill(registry, disk)
    before = _standing(registry)
    oldest = registry.resolve("quickstart@1").folder
    saved = [file.relative_to(disk).as_posix() for file in yard.root.rglob(".*.tmp")]
    (oldest / "model.safetensors").unlink()
    (disk / "model" / "model.safetensors").unlink()
    _register(registry, disk, before + 1)
    registry.verify(registry.resolve(f"quickstart@{before + 1}"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    return {
        "full": full,
        "before": before,
        "after": len(registry.versions("quickstart")),
        "leftovers": saved,
        "readOnly": _read_only(open_yard(disk / "yard")),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
