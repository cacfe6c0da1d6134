"""A script: `modelyard run` with its yard on a disk of its own, which fills up while the workers save.

Then space is made and the same command run again; then the disk is made read-only. Reports as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelyard.checkpoint import committed
from support.workplaces import Workplace, make_workplace


def _fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


def _steps(place: Workplace) -> list[int]:
    return sorted(commit.step for commit in committed(place.folder()))


def main(disk: Path) -> dict[str, Any]:
    place = make_workplace(disk / "work")
    process, thaw = place.start_frozen_in_save("run", "-f", "job.yaml", save=2)
    ballast = _fill(disk)
    thaw()
    printed = process.communicate(timeout=200)[0]
    full = {"code": process.returncode, "printed": printed, "steps": _steps(place)}
    ballast.unlink()
    again = place.command("run", "-f", "job.yaml")
    rows = [row["step"] for row in place.rows() if "stepSeconds" in row]
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused = place.command("run", "-f", "job.yaml", "--set", "spec.optimization.seed=3")
    return {
        "full": full,
        "again": {"code": again.returncode, "printed": again.stdout + again.stderr, "rows": rows},
        "readOnly": {"code": refused.returncode, "printed": refused.stdout + refused.stderr},
    }


if __name__ == "__main__":
    os.environ.pop("MODELYARD_YARD", None)
    print(json.dumps(main(Path(sys.argv[1]))))
