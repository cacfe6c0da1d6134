"""The pages about clusters are complete: every reason, condition, phase and failure class has its place."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from modelyard.errors import FailureClass
from modelyard.records.status import Phase
from modelyard.spec.reasons import Reason
from modelyard_operator.kinds import conditions

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module that makes generated pages."""
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_reason_says_what_it_means(hooks: ModuleType) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", hooks.conditions_page().split("## Reasons")[1], re.M))
    assert set(rows) == set(Reason)
    assert all(text.endswith(".") for text in rows.values())


def test_every_type_of_condition_and_every_phase_is_there(hooks: ModuleType) -> None:
    types = {value for name, value in vars(conditions).items() if name.isupper() and isinstance(value, str)}
    assert {name for name, *_ in hooks.CONDITION_TYPES} == types
    assert {phase for _, phases in hooks.PHASES for phase in phases.split()} == set(get_args(Phase))


@pytest.mark.parametrize("failure", get_args(FailureClass))
def test_every_failure_class_has_a_command_that_shows_it(failure: str) -> None:
    page = (DOCS / "how-to/cluster-troubleshooting.md").read_text()
    section = page.split(f"### {failure} {{ #{failure.lower()} }}")[1].split("\n#")[0]
    assert "```console\n$ " in section


def test_reasons_that_pages_name_exist() -> None:
    pages = [*(DOCS / "how-to").glob("cluster-*.md"), *(DOCS / "reference/cluster").glob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    lists = re.findall(r"\b[Rr]easons? (?:is )?((?:`[A-Z]\w+`(?:, )?)+)", text)
    tables = re.findall(r"^\| reason \| means \|\n\| --- \| --- \|\n((?:\|.*\n)+)", text, re.M)
    named = set(re.findall(r"`(\w+)`", " ".join(lists)))
    named |= set(re.findall(r"^\| `(\w+)` \|", "\n".join(tables), re.M))
    assert {"RolledBack", "NameTaken", "Queued"} <= named
    assert named <= set(Reason)


def test_files_that_pages_name_exist() -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "how-to").glob("cluster-*.md"))
    named = set(
        re.findall(
            r"(?:-f |install modelyard \./|python |build |`)((?:helm|operators|platform|examples)/[\w./-]+)", text
        )
    )
    assert {"operators/Dockerfile", "platform/Dockerfile", "examples/quickstart.yaml"} <= named
    assert [name for name in sorted(named) if not (DOCS.parent / name).exists()] == []
