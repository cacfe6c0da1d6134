"""What the pages show is so: manifests are read, commands exist with their options, Python compiles."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from modelyard.cli.app import app
from modelyard.spec import load, parse

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)
MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language: (text without its indent), named by page and line."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            if match[2] == language:
                line = text[: match.start()].count("\n") + 1
                body = re.sub(rf"^{match[1]}", "", match[3], flags=re.M)
                found.append(pytest.param(body, id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def commands() -> list[Any]:
    """Every `modelyard …` line of the console blocks."""
    lines = []
    for block in blocks("console"):
        joined = block.values[0].replace("\\\n", " ")
        lines += [
            pytest.param(line.removeprefix("$ "), id=f"{block.id} {line[2:40]}")
            for line in joined.splitlines()
            if line.startswith("$ modelyard")
        ]
    return lines


MANIFESTS = [block for block in blocks("yaml") if re.search(r"^apiVersion.*^spec:", block.values[0], re.M | re.S)]


@pytest.mark.parametrize("text", MANIFESTS)
def test_manifests_are_read(text: str) -> None:
    for document in text.split("\n---\n"):
        if "…" not in document:
            assert parse(document, origin="page")


@pytest.mark.parametrize("manifest", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_read(manifest: Path) -> None:
    assert len(load([manifest])) == 1


@pytest.mark.parametrize("line", commands())
def test_commands_exist_with_their_options(line: str) -> None:
    words = shlex.split(line.split(" > ", maxsplit=1)[0], comments=True)[1:]
    group: Any = typer.main.get_command(app)
    if words[0].startswith("-"):
        known = {option for parameter in group.params for option in parameter.opts}
        assert set(words) <= known
        return
    verb = group.commands[words[0]]
    known = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }
    used = {word.split("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
    assert used <= known | {"--help"}


@pytest.mark.parametrize("text", blocks("python"))
def test_python_compiles(text: str) -> None:
    compile(text, "page", "exec")


def test_make_targets_exist() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    named = {first or second for first, second in re.findall(r"^\$ make ([a-z]+)|`make ([a-z]+)`", text, re.M)}
    assert {"quickstart", "test"} <= named <= MAKE_TARGETS
