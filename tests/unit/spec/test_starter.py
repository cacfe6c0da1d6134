"""`modelyard init`: the starter manifest validates for every kind of folder."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.data.sources import find_files
from modelyard.errors import BadDataError, ManifestError, NotFoundError
from modelyard.spec import TrainingJob, parse
from modelyard.spec.starter import look_at, starter_manifest


def _job(folder: Path, name: str | None = None) -> TrainingJob:
    (job,) = parse(starter_manifest(look_at(folder), name=name), origin="starter")
    assert isinstance(job, TrainingJob)
    return job


def _texts(folder: Path, number: int, ending: str = ".txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        (folder / f"{index}{ending}").write_text("some words\n" * 20)
    return folder


def test_many_texts(tmp_path: Path) -> None:
    job = _job(_texts(tmp_path / "My Texts", 135))
    assert job.metadata.name == job.spec.register.name == "my-texts"
    assert job.spec.data.train[0].path.endswith("My Texts/*.txt")
    assert job.spec.data.train[0].format == "text"
    assert job.spec.data.validation.fraction == 0.05
    assert job.spec.evaluation.suites


@pytest.mark.parametrize(("documents", "share"), [(31, None), (32, 0.2), (134, 0.2), (135, 0.05)])
def test_a_share_to_measure_on_is_hardly_ever_empty(tmp_path: Path, documents: int, share: float | None) -> None:
    assert _job(_texts(tmp_path / "texts", documents)).spec.data.validation.fraction == share
    assert share is None or (1 - share) ** documents < 0.001


def test_few_texts_are_not_split(tmp_path: Path) -> None:
    job = _job(_texts(tmp_path / "few", 3))
    assert job.spec.data.validation.fraction is None
    assert not job.spec.evaluation.suites


def test_records_below_folders_with_a_column_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "2024"
    (folder / "deep").mkdir(parents=True)
    lines = [json.dumps({"id": "7", "body": "a longer text than the id"})] * 100
    with gzip.open(folder / "deep" / "a.jsonl.gz", "wt") as packed:
        packed.write("\n".join(lines))
    job = _job(folder)
    assert job.metadata.name == "job-2024"
    source = job.spec.data.train[0]
    assert (source.format, source.columns.text) == ("jsonl", "body")
    assert source.path.endswith("2024/**/*.jsonl.gz")


@pytest.mark.parametrize("name", ["a[1]", "what?*", "Mein Täxt", "書", "\N{SLIGHTLY SMILING FACE}", 'a"b'])
@pytest.mark.parametrize("below", ["", "deep"])
def test_what_is_written_names_the_files(tmp_path: Path, name: str, below: str) -> None:
    _texts(tmp_path / name / below, 2)
    source = _job(tmp_path / name).spec.data.train[0]
    assert len(find_files(source, root=tmp_path)) == 2


def test_a_name_is_written_as_it_reads(tmp_path: Path) -> None:
    assert "/Mein Täxt/*.txt" in starter_manifest(look_at(_texts(tmp_path / "Mein Täxt", 1)))


def test_a_name_that_cannot_be_printed_is_escaped(tmp_path: Path) -> None:
    folder = _texts(tmp_path / "a\x85b", 1)
    assert _job(folder).spec.data.train[0].path == f"{folder}/*.txt"


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _texts(tmp_path / "texts", 2)
    (folder / "gone.txt").symlink_to("nowhere")
    _texts(folder / "vanishing", 3)
    walk = os.walk

    def vanishing(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for here, folders, files in walk(top):
            if Path(here).name == "vanishing":
                shutil.rmtree(here)
            yield here, folders, files

    monkeypatch.setattr(os, "walk", vanishing)
    assert look_at(folder).files == 2


def test_an_archive_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_text("no archive")
    with pytest.raises(BadDataError, match=r"a\.jsonl\.gz cannot be read"):
        look_at(tmp_path)


def test_the_commonest_format_is_taken_and_hidden_files_are_not(tmp_path: Path) -> None:
    folder = _texts(_texts(tmp_path / "mixed", 2), 5, ".md")
    _texts(folder / ".git", 50)
    assert look_at(folder).files == 5
    assert look_at(folder).ending == ".md"


def test_the_name_can_be_given(tmp_path: Path) -> None:
    folder = _texts(tmp_path / "x", 1)
    assert _job(folder, "mine").metadata.name == "mine"
    with pytest.raises(ManifestError):
        _job(folder, "Not A Name")


def test_a_path_that_goes_up_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _texts(tmp_path / "texts", 1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert _job(Path("../texts")).spec.data.train[0].path == f"{tmp_path}/texts/*.txt"
    monkeypatch.chdir(tmp_path / "texts")
    assert _job(Path()).metadata.name == "texts"


def test_larger_text_gets_a_larger_model(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    with (folder / "a.txt").open("wb") as sparse:
        sparse.truncate(100_000_000)
    job = _job(folder)
    assert job.spec.model.config["hidden_size"] == 384
    assert job.spec.optimization.steps == 13950


def test_endings_in_capitals(tmp_path: Path) -> None:
    assert _job(_texts(tmp_path / "loud", 2, ".TXT")).spec.data.train[0].path.endswith("loud/*.TXT")
    with gzip.open(tmp_path / "loud" / "a.JSONL.GZ", "wt") as packed:
        packed.write('{"body": "words"}\n')
    for file in tmp_path.rglob("*.TXT"):
        file.unlink()
    assert look_at(tmp_path / "loud").column == "body"


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    found = look_at(_texts(_texts(tmp_path / "mixed", 1), 2, ".md"))
    assert found.summary == "2 files of text, 0.4 kB (1 with other endings left out)"


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        look_at(tmp_path / "none")
    with pytest.raises(NotFoundError, match="holds no text"):
        look_at(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(BadDataError, match="all empty"):
        look_at(tmp_path)
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.jsonl").write_text("{broken\n")
    with pytest.raises(BadDataError, match=r"a\.jsonl:1 is not a JSON record"):
        look_at(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"n": 3}\n')
    with pytest.raises(BadDataError, match="no column of text"):
        look_at(tmp_path)
