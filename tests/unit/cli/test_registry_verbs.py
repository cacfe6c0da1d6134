"""`models`, `trace` and `alias` over a small registry, through the console script's door."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modelyard.cli.app import app
from modelyard.errors import ConflictError, InvalidInputError, NotFoundError, UsageError
from modelyard.records import DatasetRecord, MetricValue, SourceFile, SourceRecord
from modelyard.registry import Registry, open_registry
from modelyard.yard import open_yard, publish

DIGEST = "sha256:" + "4" * 64
BITS = MetricValue(suite="heldout", metric="bits_per_byte", value=2.2712, low=2.2, high=2.3, items=10)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELYARD_YARD", raising=False)
    registry = open_registry(open_yard(tmp_path / "yard"))
    model = tmp_path / "model"
    model.mkdir()
    for number, parent in enumerate((None, "quickstart@1"), start=1):
        (model / "config.json").write_text(str(number))
        registry.register(
            "quickstart", model, run_id=f"quickstart-0000000{number}", spec_digest=DIGEST, training_digest=DIGEST,
            dataset_digest=DIGEST, code_version="0.1.0", parent=parent, metrics=(BITS,), verdict="Passed",
        )  # fmt: skip
    registry.set_alias("quickstart", "candidate", 2, by="test")
    return registry


def _call(*arguments: str, fails: type[Exception] | None = None) -> Result:
    result = CliRunner().invoke(app, arguments)
    if fails is None:
        assert result.exception is None, result.exception
    else:
        assert isinstance(result.exception, fails)
    return result


def _dataset(registry: Registry) -> None:
    files = tuple(SourceFile(path=f"corpus/{n}.jsonl", size_bytes=1200, mtime_ns=1, sha256=DIGEST) for n in range(7))
    source = SourceRecord(
        name="stdlib", split="train", format="jsonl", files=files, records=3, documents=2, excluded={"empty": 1},
        text_bytes=1234567, tokens=30,
    )  # fmt: skip
    record = DatasetRecord(
        digest=DIGEST, tokenizer_digest=DIGEST, vocab_size=9, sources=(source,), files=(), created=""
    )
    publish(registry.yard.dataset_folder(DIGEST) / "dataset.json", record.to_json())


@pytest.mark.usefixtures("registry")
def test_models_is_a_table() -> None:
    heads, first, second = _call("models").stdout.splitlines()
    assert heads.split() == ["NAME", "VERSION", "ALIASES", "CREATED", "BITS", "PER", "BYTE", "VERDICT", "RUN"]
    assert first.split()[:2] == ["quickstart", "1"]
    assert second.split()[:3] == ["quickstart", "2", "candidate"]
    assert second.split()[-3:] == ["2.271", "Passed", "quickstart-00000002"]
    assert _call("models", "quickstart").stdout.splitlines()[1:] == [first, second]


def test_models_for_programs_and_verified(registry: Registry) -> None:
    told = json.loads(_call("models", "--verify", "-o", "json").stdout)
    assert [(one["version"], one["aliases"]) for one in told] == [(1, []), (2, ["candidate"])]
    assert told[0]["files"][0]["path"] == "config.json"
    path = registry.resolve("quickstart@1").folder / "config.json"
    path.chmod(0o644)
    path.write_text("2")
    result = CliRunner().invoke(app, ["models", "--verify"])
    assert result.exit_code == 1
    assert "quickstart@1" in result.stderr
    assert "config.json" in result.stderr
    assert "quickstart@2: 1 files are as registered" in result.stderr


def test_a_damaged_record_hides_no_other_version(registry: Registry) -> None:
    record = registry.yard.model_folder("quickstart", 2) / "version.json"
    record.chmod(0o644)
    record.write_text('{"torn')
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 1
    assert f"error: quickstart@2: {record} is damaged" in result.stderr
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [["quickstart", "1"]]


def test_a_damaged_alias_hides_no_version(registry: Registry) -> None:
    alias = registry.yard.model("quickstart") / "aliases/candidate"
    alias.write_text("[" * 1000)
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 1
    assert f"error: aliases of quickstart: {alias} is damaged" in result.stderr
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [["quickstart", "1"], ["quickstart", "2"]]


def test_an_empty_registry_has_headings_alone(tmp_path: Path) -> None:
    open_yard(tmp_path / "yard")
    assert len(_call("models", "--yard", str(tmp_path / "yard")).stdout.splitlines()) == 1


def test_what_is_not_there_is_told(registry: Registry, tmp_path: Path) -> None:
    _call("models", "quikstart", fails=NotFoundError)
    _call("trace", "quickstart@9", fails=NotFoundError)
    _call("alias", "quickstart", "stable", fails=NotFoundError)
    _call("models", "--yard", str(tmp_path / "none"), fails=NotFoundError)


def test_trace_is_a_tree_down_to_the_files(registry: Registry) -> None:
    _dataset(registry)
    text = _call("trace", "registry://quickstart@candidate").stdout
    lines = text.splitlines()
    assert lines[0].startswith("model quickstart@2 (candidate)  sha256:")
    assert "│   ├── stdlib" not in text
    for part in (
        "verdict Passed",
        "heldout/bits_per_byte 2.2712",
        "run quickstart-00000002",
        f"dataset  {DIGEST}",
        "source stdlib (train): 2 documents, 1,234,567 bytes of text, 30 tokens",
        f"corpus/0.jsonl  1,200 bytes  {DIGEST}",
        "… 2 more files",
        "trained from quickstart@1",
        "model quickstart@1",
    ):
        assert part in text


def test_trace_for_programs_names_every_file(registry: Registry) -> None:
    _dataset(registry)
    told = json.loads(_call("trace", "quickstart", "--verify", "-o", "json").stdout)
    assert told["version"]["version"] == 2
    assert told["parent"]["version"]["version"] == 1
    assert len(told["dataset"]["sources"][0]["files"]) == 7
    assert "runs/quickstart-00000002 is gone" in told["run"]["missing"]


@pytest.mark.parametrize("version", ["quickstart@1", "registry://quickstart@1"])
def test_an_alias_is_pointed_at_a_version_by_its_whole_name(registry: Registry, version: str) -> None:
    assert _call("alias", "quickstart", "stable", version).stdout == "quickstart@stable is version 1\n"
    assert registry.aliases("quickstart")["stable"] == 1


@pytest.mark.usefixtures("registry")
def test_a_version_has_no_aliases_of_its_own() -> None:
    for more in ([], ["stable"], ["stable", "1"]):
        refused = _call("alias", "quickstart@1", *more, fails=UsageError)
        assert "quickstart@1 is a version" in str(refused.exception)
    other = _call("alias", "quickstart", "stable", "other@1", fails=UsageError)
    assert "other@1 is no version of quickstart" in str(other.exception)


def test_an_alias_is_listed_moved_told_and_removed(registry: Registry) -> None:
    assert _call("alias", "quickstart").stdout.splitlines()[1].split()[:2] == ["candidate", "2"]
    assert _call("alias", "quickstart", "stable", "1").stdout == "quickstart@stable is version 1\n"
    _call("alias", "quickstart", "stable", "candidate", "--reason", "better")
    assert registry.aliases("quickstart") == {"candidate": 2, "stable": 2}
    assert _call("alias", "quickstart", "stable", "--remove").stdout == "quickstart@stable is removed\n"
    history = _call("alias", "quickstart", "stable").stdout.splitlines()
    assert [line.split()[1] for line in history] == ["VERSION", "1", "2", "removed"]
    assert history[2].endswith("better")
    assert json.loads(_call("alias", "quickstart", "-o", "json").stdout)[0]["alias"] == "candidate"
    assert json.loads(_call("alias", "quickstart", "stable", "-o", "json").stdout)["revision"] == 3


@pytest.mark.usefixtures("registry")
def test_a_move_that_cannot_be_is_refused() -> None:
    _call("alias", "quickstart", "12", "1", fails=InvalidInputError)
    _call("alias", "quickstart", "stable", "9", fails=NotFoundError)
    _call("alias", "quickstart", "candidate", "1", "--revision", "7", fails=ConflictError)
    _call("alias", "quickstart", "--remove", fails=InvalidInputError)
    _call("alias", "quickstart", "stable", "1", "--remove", fails=InvalidInputError)
