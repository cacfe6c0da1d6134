from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODELYARD = Path(sys.executable).parent / "modelyard"


def complete(shell: str, **words: str) -> str:
    """What the shell's completion script would be told."""
    environment = {**os.environ, "_MODELYARD_COMPLETE": f"complete_{shell}", **words}
    return subprocess.run([MODELYARD], env=environment, capture_output=True, text=True, check=True).stdout


def test_bash_completes_a_verb() -> None:
    assert complete("bash", COMP_WORDS="modelyard re", COMP_CWORD="1").split() == ["report"]


def test_zsh_completes_a_verb_with_its_words() -> None:
    assert "report" in complete("zsh", _TYPER_COMPLETE_ARGS="modelyard re")


def test_fish_completes_an_option() -> None:
    told = complete("fish", _TYPER_COMPLETE_ARGS="modelyard run --f", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert {line.split()[0] for line in told.splitlines()} == {"--file", "--fresh"}


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_the_script_is_shown(shell: str, word: str) -> None:
    shown = subprocess.run(
        [MODELYARD, "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert word in shown.stdout
    assert "modelyard" in shown.stdout
