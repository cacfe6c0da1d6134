"""The import contracts of pyproject.toml catch what they are there for: each planted violation breaks the one named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINT = Path(sys.executable).parent / "lint-imports"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name in ("platform", "operators"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(house / "platform"), str(house / "operators")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([LINT, "--no-cache"], cwd=house, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("platform/modelyard/data/planted.py", "import ray", "Ray is touched in on_ray modules only"),
        ("platform/modelyard/infer/planted.py", "import deepspeed", "DeepSpeed is touched in two modules only"),
        ("platform/modelyard/report/planted.py", "import torch", "the vocabulary and the ledgers are light"),
        ("platform/modelyard/yard/planted.py", "import modelyard.workflow", "rooms of the platform"),
        ("platform/modelyard/planted/__init__.py", "", "rooms of the platform"),
        ("operators/modelyard_operator/planted.py", "import modelyard.train", "the operator sees only the vocabulary"),
    ],
)
def test_a_planted_violation_breaks_its_contract(house: Path, file: str, line: str, broken: str) -> None:
    path = house / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{line}\n")
    done = lint(house)
    assert done.returncode != 0
    assert f"{broken} BROKEN" in done.stdout
