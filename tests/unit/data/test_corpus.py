"""The collector of the quickstart's corpus."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "examples" / "collect_corpus.py"


def collect(folder: Path, seed: str = "0") -> str:
    command = [sys.executable, "-S", str(SCRIPT), "--out", str(folder)]
    return subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    collect(folder)
    return folder


def documents(folder: Path, split: str) -> list[dict[str, str]]:
    return [json.loads(line) for path in sorted((folder / split).glob("*.jsonl")) for line in path.open()]


def test_it_is_two_megabytes_of_text_in_two_splits(corpus: Path) -> None:
    sizes = {
        split: sum(len(entry["text"].encode()) for entry in documents(corpus, split))
        for split in ("train", "validation")
    }
    assert 1_500_000 < sizes["train"] < 3_000_000
    assert 0.08 < sizes["validation"] / sum(sizes.values()) < 0.25


def test_no_text_is_there_twice_and_no_module_in_both(corpus: Path) -> None:
    train, validation = documents(corpus, "train"), documents(corpus, "validation")
    texts = [entry["text"] for entry in train + validation]
    assert len(texts) == len(set(texts))
    assert any(entry["id"].startswith("pydoc_data.topics:") for entry in train)
    assert not {entry["id"] for entry in train} & {entry["id"] for entry in validation}


def test_a_corpus_that_stands_is_left_alone(corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert "stands" in collect(corpus)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_a_harmed_corpus_is_collected_anew_and_is_the_same(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "corpus")
    (tmp_path / "corpus" / "train" / "stdlib.jsonl").write_text("harmed")
    assert "stands" not in collect(tmp_path / "corpus", seed="7")
    for path in corpus.rglob("*.json*"):
        assert (tmp_path / "corpus" / path.relative_to(corpus)).read_bytes() == path.read_bytes()
