"""What the ranks of one launch do in the checkpoint tests: save at a layout, restore at another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from support.engines import build_engine, live_digests, train
from support.states import claimed_run, facts

SAVED_STEP, LAST_STEP = 5, 10


def save_all(root: Path, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per cell (name, and what build_engine takes): train, save, train on. Losses after the save, digests."""
    from deepspeed import comm as dist

    from modelyard import checkpoint
    from modelyard.checkpoint.zero import engine_state, process_ranks

    ranks, answers = process_ranks(), []
    for cell in cells:
        options = {key: value for key, value in cell.items() if key not in ("name", "steps")}
        if ranks.rank == 0:
            claimed_run(root / cell["name"])
        dist.barrier()
        engine = build_engine(**options)
        state = engine_state(engine)
        before = train(engine, 0, cell.get("steps", SAVED_STEP))
        commit = checkpoint.save(state, _run(root, cell["name"]), facts(SAVED_STEP, 1), ranks=ranks)
        live = live_digests(state)
        answers.append(
            {
                "name": cell["name"], "before": before, "after": train(engine, SAVED_STEP, LAST_STEP), "live": live,
                "files": [file.sha256 for file in commit.record.files], "end": live_digests(state),
                "rate": engine.get_lr(),
            }
        )  # fmt: skip
        engine.destroy()
    return answers


def restore_all(root: Path, pairs: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Per pair of a saved cell and a layout: restore, save again, train on. Losses, digests, counters."""
    from modelyard import checkpoint
    from modelyard.checkpoint.zero import engine_state, process_ranks

    ranks, answers = process_ranks(), []
    for number, (name, options) in enumerate(pairs):
        run = _run(root, name)
        engine = build_engine(**options)
        state = engine_state(engine)
        found = checkpoint.latest(run, ranks=ranks)
        assert found.commit is not None
        checkpoint.restore(state, found.commit, ranks=ranks)
        live = live_digests(state)
        copy = root / f"{name}-again-{ranks.world}-{number}"
        if ranks.rank == 0:
            claimed_run(copy)
        ranks.gather(b"")
        again = checkpoint.save(state, _run(copy.parent, copy.name), facts(SAVED_STEP, 1), ranks=ranks)
        answers.append(
            {
                "name": name, "options": options, "live": live, "after": train(engine, SAVED_STEP, LAST_STEP),
                "files": [file.sha256 for file in again.record.files], "run": copy.name, "end": live_digests(state),
                "steps": engine.global_steps, "rate": engine.get_lr(),
            }
        )  # fmt: skip
        engine.destroy()
    return answers


def killed_in_save(root: Path, victim: int, point: str) -> str:
    """Commit step 5, then save step 6 while one rank dies at a fault point; the survivor's account."""
    from modelyard import checkpoint
    from modelyard.checkpoint.zero import engine_state, process_ranks

    ranks = process_ranks()
    if ranks.rank == 0:
        claimed_run(root / "killed")
    ranks.gather(b"")
    engine = build_engine(2)
    state = engine_state(engine)
    train(engine, 0, 5)
    checkpoint.save(state, _run(root, "killed"), facts(5, 1), ranks=ranks)
    train(engine, 5, 6)
    if ranks.rank == victim:
        os.environ["MODELYARD_FAULT_POINT"] = f"{point}:1"
    try:
        checkpoint.save(state, _run(root, "killed"), facts(6, 1), ranks=ranks)
    except RuntimeError as error:
        return f"lost: {error}"
    return "saved"


def _run(root: Path, name: str) -> Any:
    from modelyard.yard import open_yard

    return open_yard(root / name).run("quickstart-00000000")
