"""The shipped table of config keys is what the installed transformers says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.spec.rules.configs import families, family

ROOT = Path(__file__).parents[3]


def test_the_table_is_that_of_the_installed_transformers() -> None:
    command = [sys.executable, "tools/config_keys.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "mistral", "gemma3_text", "phi3", "gpt_neox", "opt"])
def test_families_one_expects_are_there(name: str) -> None:
    known = family(name)
    assert known is not None
    assert "vocab_size" in known.takes
    assert len(families()) > 150


def test_other_names_of_keys_are_known() -> None:
    known = family("gpt2")
    assert known is not None
    assert known.aliases["hidden_size"] == "n_embd"
    assert known.defaults["n_head"] == 12
