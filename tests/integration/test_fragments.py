"""Real DeepSpeed engines over gloo: what one layout saves, every other restores.

A reduced matrix (every pair of worker counts, stages in rotation, and every layout onto itself); the full one of 144
is benchmarks/checkpoint_matrix.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from modelyard import checkpoint
from modelyard.yard import RunFolder, open_yard
from support.engines import build_model, launch
from support.fragment_jobs import LAST_STEP, SAVED_STEP, killed_in_save, restore_all, save_all

WORLDS, STAGES = (1, 2, 3), (0, 1, 2, 3)
VARIANTS: dict[str, dict[str, Any]] = {
    "accumulated": {"stage": 1, "accumulate": 3},
    "round-robin": {"stage": 2, "extra": {"round_robin_gradients": True}},
    "sgd": {"stage": 3, "optimizer": "sgd"},
    "born-partitioned": {"stage": 3, "partitioned": True},
    "unstepped": {"stage": 2, "steps": 0},
    **{f"bf16-{stage}": {"stage": stage, "precision": "bf16"} for stage in STAGES},
}
VARIANT_TARGETS: list[tuple[str, dict[str, Any]]] = [
    ("accumulated", {"stage": 0}),
    ("accumulated", {"stage": 3}),
    ("round-robin", {"stage": 2}),
    ("sgd", {"stage": 0, "optimizer": "sgd"}),
    ("sgd", {"stage": 2, "optimizer": "sgd"}),
    ("born-partitioned", {"stage": 1}),
    ("unstepped", {"stage": 0}),
    ("unstepped", {"stage": 3}),
    *((f"bf16-{a}", {"stage": (a + 1) % 4, "precision": "bf16"}) for a in STAGES),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fragments")


@pytest.fixture(scope="module")
def saved(root: Path) -> dict[str, list[dict[str, Any]]]:
    """By cell, what each rank that saved it saw."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for world in WORLDS:
        wanted = [{"name": f"w{world}s{stage}", "stage": stage} for stage in STAGES]
        if world == 2:
            wanted += [{"name": name, **options} for name, options in VARIANTS.items()]
        for answers in zip(*launch(world, save_all, root, wanted), strict=True):
            cells[answers[0]["name"]] = list(answers)
    return cells


@pytest.fixture(scope="module")
def restored(root: Path, saved: dict[str, Any]) -> dict[tuple[str, int, int], list[dict[str, Any]]]:
    """By cell, and the worker count and number of the target, what each rank that restored it saw."""
    cells = {}
    for world in WORLDS:
        pairs = _pairs(world)
        for number, answers in enumerate(zip(*launch(world, restore_all, root, pairs), strict=True)):
            cells[pairs[number][0], world, number] = list(answers)
    return cells


def _pairs(world: int) -> list[tuple[str, dict[str, Any]]]:
    pairs: list[tuple[str, dict[str, Any]]] = []
    for source in WORLDS:
        for stage in STAGES:
            same = [stage] if source == world else []
            pairs += [(f"w{source}s{stage}", {"stage": to}) for to in {*same, (stage + source + world) % 4}]
    if world == 1:
        pairs += VARIANT_TARGETS
    if world == 2:  # onto themselves
        pairs += [(name, {k: v for k, v in options.items() if k != "steps"}) for name, options in VARIANTS.items()]
    return pairs


def test_all_layouts_train_alike(saved: dict[str, Any]) -> None:
    first = saved["w1s0"][0]
    for world in WORLDS:
        for stage in STAGES:
            cell = saved[f"w{world}s{stage}"][0]
            assert cell["before"] + cell["after"] == pytest.approx(first["before"] + first["after"], abs=1e-5)


def test_every_restore_holds_the_same_values(root: Path, restored: dict[Any, Any]) -> None:
    for (name, _, _), answers in restored.items():
        before = checkpoint.state_digest(_commit(root / name))
        again = checkpoint.state_digest(_commit(root / answers[0]["run"]))
        assert before == again, answers[0]["options"] | {"of": name}


def test_every_restore_goes_on_as_if_uninterrupted(saved: dict[str, Any], restored: dict[Any, Any]) -> None:
    for (name, world, _), answers in restored.items():
        tolerance = 3e-2 if name.startswith("bf16") else 1e-5  # bf16 rounds losses of 7 to 0.03 where layouts differ
        after = saved[name][0]["after"]
        assert answers[0]["after"] == pytest.approx(after, abs=tolerance), (name, world, answers[0]["options"])
        assert answers[0]["steps"] == len(saved[name][0]["before"]) + LAST_STEP - SAVED_STEP
        assert answers[0]["rate"] == pytest.approx(saved[name][0]["rate"], rel=1e-12)


def test_the_same_layout_is_bit_identical(saved: dict[str, Any], restored: dict[Any, Any]) -> None:
    """In other processes: the live values, the files, and the end of training."""
    num_same = 0
    for (name, world, _), answers in restored.items():
        options = VARIANTS[name] if name in VARIANTS else {"stage": int(name[-1])}
        same_options = answers[0]["options"] == {k: v for k, v in options.items() if k != "steps"}
        if world == len(saved[name]) and same_options:
            num_same += 1
            for was, now in zip(saved[name], answers, strict=True):
                assert (now["live"], now["files"], now["after"]) == (was["live"], was["files"], was["after"]), name
                assert {k for k in now["end"] if now["end"][k] != was["end"][k]} == set(), name
    assert num_same == len(WORLDS) * len(STAGES) + len(VARIANTS)


def test_assembled_weights_load_into_a_plain_module(root: Path, saved: dict[str, Any]) -> None:
    """Without an engine: tied weights once, shapes back, the hidden buffer left out."""
    commit = _commit(root / "w3s3")
    weights = dict(checkpoint.assemble(commit))
    model = build_model()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["head.weight"], [])
    assert {t.name: t.aliases for t in commit.record.tensors if t.aliases} == {"embed.weight": ("head.weight",)}
    assert weights["body.0.weight"].shape == (17, 9)
    assert torch.equal(weights["frozen.weight"], build_model().frozen.weight)
    assert int(weights["seen"][0]) == SAVED_STEP


def test_bf16_keeps_fp32_masters(root: Path, saved: dict[str, Any]) -> None:
    commit = _commit(root / "bf16-0")
    assert {t.dtype for t in commit.record.tensors if t.kind == "master"} == {"BF16"}
    assert dict(checkpoint.assemble(commit))["embed.weight"].dtype == torch.float32


def test_a_file_says_what_it_holds_to_any_safetensors_reader(root: Path, saved: dict[str, Any]) -> None:
    commit = _commit(root / "w2s1")
    keys = []
    for path in commit.paths:
        with safe_open(path, framework="pt") as file:
            keys += list(file.keys())
    assert any(key.startswith("body.2.bias:exp_avg_sq[") for key in keys)
    assert not any("rank" in key or "world" in key for key in keys)


KILLS = [(1, "checkpoint.fragments.half"), (0, "checkpoint.commit.before"), (1, "checkpoint.gathered")]


@pytest.mark.parametrize(("rank", "point"), KILLS)
def test_a_rank_killed_in_the_save_leaves_the_commit_before(tmp_path: Path, rank: int, point: str) -> None:
    answers = launch(2, killed_in_save, tmp_path, rank, point)
    assert answers[rank] == -9
    run = _run(tmp_path / "killed")
    committed = [commit.step for commit in checkpoint.committed(run)]
    assert committed == ([6, 5] if point == "checkpoint.gathered" else [5])  # rank 0 alone may finish the commit
    assert checkpoint.latest(run).warnings == ()


def _run(folder: Path) -> RunFolder:
    return open_yard(folder).run("quickstart-00000000")


def _commit(folder: Path) -> checkpoint.Commit:
    [commit] = checkpoint.committed(_run(folder))
    return commit
