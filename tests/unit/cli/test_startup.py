"""`modelyard --help` is light and quick: it imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelyard.cli import main

HEAVY = ("torch", "ray", "deepspeed", "transformers", "numpy", "kubernetes")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['modelyard', *{arguments!r}]\n"
        "from modelyard.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "modelyard" in result.stdout


def test_a_ctrl_c_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(yard: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelyard.cli.places.the_yard", interrupted)
    monkeypatch.setattr(sys, "argv", ["modelyard", "runs"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "error: interrupted\n")
