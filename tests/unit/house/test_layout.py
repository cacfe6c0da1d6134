"""Rules of the house that no tool of `make check` knows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_platform_is_a_source_root_and_never_a_package() -> None:
    """An `__init__.py` there shadows the standard library's `platform` and breaks uuid, pytest and pip."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "operators" / "__init__.py").exists()


def test_no_tests_folder_shadows_platform() -> None:
    assert not list((ROOT / "tests").rglob("platform")), "a folder tests/**/platform would shadow the standard library"
    packages = [path for path in (ROOT / "tests").rglob("__init__.py") if "support" not in path.parts]
    assert not packages, "tests are found by --import-mode=importlib, without packages; only what supports them is one"


def test_constraints_pin_every_requirement_and_hold_no_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {_normal(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wished = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    assert {_normal(re.split(r"[\[<>=~! ]", name)[0]) for name in wished} <= pinned


@pytest.mark.parametrize("target", ["setup", "quickstart", "check", "test", "docs", "constraints", "clean"])
def test_make_help_names_every_door(target: str) -> None:
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(rf"^  make {target} ", shown.stdout, re.M)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
