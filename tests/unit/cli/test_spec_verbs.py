"""validate, explain, schema and init at the command line: what they print, and their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, edited


def _modelyard(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = "from modelyard.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(TRAINING + "---\n" + EVALUATION)
    (tmp_path / "b.yaml").write_text(DEPLOYMENT)
    return tmp_path


def test_validate_a_folder(folder: Path) -> None:
    done = _modelyard("validate", "-f", str(folder), "--no-count")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "TrainingJob/small OK: llama, 100 steps of 512 tokens, 2 workers, ZeRO 1",
        "EvaluationJob/check OK: registry://small@candidate, 1 suite, 1 gate",
        "ModelDeployment/answers OK: registry://small@1, 1 replica, http://127.0.0.1:8000",
    ]


def test_validate_stdin_as_json() -> None:
    text = TRAINING.replace("  register:", "  storage: {claimName: team}\n  register:")
    done = _modelyard("validate", "-f", "-", "--no-count", "-o", "json", stdin=text)
    (row,) = json.loads(done.stdout)
    assert row["specDigest"].startswith("sha256:")
    assert row["notes"] == ["spec.storage is for clusters; it is not used on this machine"]


def test_validate_tells_every_fault_and_exits_2(folder: Path) -> None:
    (folder / "c.yaml").write_text(edited(TRAINING, "zeroStage: 1", "zeroStge: 1").text)
    done = _modelyard("validate", "-f", str(folder), "--set", "spec.optimization.seed=x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{folder}/c.yaml:35:5: spec.sharding.zeroStge: is not a field (did you mean zeroStage?)" in done.stderr
    assert "--set spec.optimization.seed=x" in done.stderr


def test_validate_with_a_wrong_file() -> None:
    done = _modelyard("validate", "-f", "nowhere.yaml")
    assert done.returncode == 2
    assert "nowhere.yaml: (file): cannot be read" in done.stderr


def test_explain_and_schema() -> None:
    done = _modelyard("explain", "tj.spec.optimization.steps")
    assert done.returncode == 0
    assert "FIELD:    steps <integer>" in done.stdout
    assert _modelyard("explain", "tj.spec.nothing").returncode == 2
    assert json.loads(_modelyard("schema", "md").stdout)["title"] == "ModelDeployment"
    assert len(json.loads(_modelyard("schema").stdout)["oneOf"]) == 3


def test_init_writes_what_validates(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("words\n" * 100)
    job = tmp_path / "job.yaml"
    done = _modelyard("init", "--data", str(tmp_path / "texts"), "-o", str(job))
    assert done.returncode == 0, done.stderr
    assert f"modelyard run -f {job}" in done.stdout
    assert _modelyard("validate", "-f", str(job), "--no-count").returncode == 0
    nowhere = _modelyard("init", "--data", str(tmp_path / "texts"), "-o", str(tmp_path / "none" / "job.yaml"))
    assert (nowhere.returncode, "cannot be written: No such file" in nowhere.stderr) == (2, True)
    again = _modelyard("init", "--data", str(tmp_path / "texts"), "-o", str(job))
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert _modelyard("init", "--data", str(tmp_path / "none")).returncode == 2


def test_init_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a few words\n" * 99)
    printed = _modelyard("init", "--data", ".").stdout
    assert "kind: TrainingJob" in printed
    assert _modelyard("init", "--data", ".", "-o", "-").stdout == printed
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("verb", ["validate", "run", "serve"])
def test_a_manifest_without_its_option_is_told_how(verb: str) -> None:
    done = _modelyard(verb, "job.yaml", "--set", "spec.x=1")
    assert done.returncode == 2
    assert f"hint:  modelyard {verb} -f job.yaml" in done.stderr


@pytest.mark.parametrize("arguments", [["validate", "--no-count", "-f", "examples"], ["explain", "tj"], ["schema"]])
def test_these_verbs_import_nothing_heavy(arguments: list[str]) -> None:
    root = Path(__file__).parents[3]
    program = (
        f"import sys; sys.argv = ['modelyard', *{arguments!r}]\n"
        "from modelyard.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'ray', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
