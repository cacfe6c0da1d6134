"""All 144 restores of {1, 2, 3 workers} x {ZeRO stage 0 to 3} onto each other, with real DeepSpeed engines over gloo.

    python benchmarks/checkpoint_matrix.py

For each: the values saved again have the same digest, and the losses of the next steps equal the uninterrupted run's.
On the same layout the files and the end of training are compared bit for bit. Exits 1 when any differs.
Found (November 2026, 2 shared cores): 144 restores, 0 wrong, losses within 1.4e-6, 57 s.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from modelyard import checkpoint
from modelyard.yard import open_yard
from support.engines import launch
from support.fragment_jobs import restore_all, save_all

WORLDS, STAGES = (1, 2, 3), (0, 1, 2, 3)
TOLERANCE = 1e-5


def digest(folder: Path) -> str:
    """Of the values of the one commit there."""
    [commit] = checkpoint.committed(open_yard(folder).run("quickstart-00000000"))
    return checkpoint.state_digest(commit)


def compare(root: Path, saved: list[dict[str, Any]], restored: list[dict[str, Any]]) -> tuple[float, list[str]]:
    """The largest difference of a loss, and what is wrong."""
    was, now = saved[0], restored[0]
    gap = max(abs(a - b) for a, b in zip(was["after"], now["after"], strict=True))
    wrong = [] if gap <= TOLERANCE else [f"losses differ by {gap:.1e}"]
    if digest(root / now["name"]) != digest(root / now["run"]):
        wrong.append("other values")
    same_layout = len(saved) == len(restored) and now["options"] == {"stage": int(now["name"][-1])}
    if same_layout and any(
        (a["files"], a["end"]) != (b["files"], b["end"]) for a, b in zip(saved, restored, strict=True)
    ):
        wrong.append("same layout, not bit-identical")
    return gap, wrong


def main() -> int:
    root, start = Path(tempfile.mkdtemp(prefix="checkpoint-matrix-")), time.time()
    saved: dict[str, list[dict[str, Any]]] = {}
    worst, num_wrong, num_done = 0.0, 0, 0
    try:
        for world in WORLDS:
            cells = [{"name": f"w{world}s{stage}", "stage": stage} for stage in STAGES]
            for answers in zip(*launch(world, save_all, root, cells), strict=True):
                saved[answers[0]["name"]] = list(answers)
        for world in WORLDS:
            pairs = [(name, {"stage": stage}) for name in saved for stage in STAGES]
            for answers in zip(*launch(world, restore_all, root, pairs), strict=True):
                gap, wrong = compare(root, saved[answers[0]["name"]], list(answers))
                worst, num_done, num_wrong = max(worst, gap), num_done + 1, num_wrong + bool(wrong)
                if wrong:
                    print(f"{answers[0]['name']} -> w{world}s{answers[0]['options']['stage']}: {'; '.join(wrong)}")
    finally:
        shutil.rmtree(root)
    print(f"{num_done} restores, {num_wrong} wrong; losses within {worst:.1e}; {time.time() - start:.0f} s")
    return int(num_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
