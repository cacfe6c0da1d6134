"""Names are labels, never paths; a yard opens or says why not."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.errors import IntegrityError, InvalidInputError, NewerLayoutError, NotFoundError, StorageError
from modelyard.yard import Yard, open_yard, short_digest

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return open_yard(tmp_path / "yard")


def _make(yard: Yard, *run_ids: str) -> None:
    for number, run_id in enumerate(run_ids):
        run = yard.run(run_id)
        run.path.mkdir(parents=True)
        run.status.write_text("{}")
        os.utime(run.status, (number, number))


def test_opening_twice_is_the_same_yard(yard: Yard) -> None:
    assert open_yard(yard.root) == yard
    assert open_yard(yard.root, create=False) == yard
    assert (yard.root / "yard.json").read_text() == '{"schema": 1}\n'


def test_a_missing_yard_is_not_made_when_only_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no yard at"):
        open_yard(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_newer_yard_is_refused_in_words(yard: Yard) -> None:
    (yard.root / "yard.json").write_text('{"schema": 2}')
    with pytest.raises(NewerLayoutError, match="has layout 2; this Modelyard knows up to 1") as caught:
        open_yard(yard.root)
    assert "--yard" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "one"}'])
def test_a_damaged_marker_is_refused(yard: Yard, text: str) -> None:
    (yard.root / "yard.json").write_text(text)
    with pytest.raises((IntegrityError, NewerLayoutError), match=r"yard"):
        open_yard(yard.root)


def test_a_folder_of_something_else_is_not_taken_for_a_yard(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InvalidInputError, match=r"thesis\.tex"):
        open_yard(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", "-a", "a-", "a.b", "a" * 64, "a\n", "é"])
def test_no_name_is_a_path(yard: Yard, name: str) -> None:
    with pytest.raises(InvalidInputError):
        yard.model_folder(name, 1)
    with pytest.raises(InvalidInputError):
        yard.run("job-0123abcd").stages(name)
    if name not in ("a.b", "a" * 64):  # a run id may hold a name space and a digest
        with pytest.raises(InvalidInputError):
            yard.run(name)


def test_versions_count_from_one(yard: Yard) -> None:
    with pytest.raises(InvalidInputError, match="count from 1"):
        yard.model_folder("quickstart", 0)


def test_datasets_are_named_by_the_first_hex_digits(yard: Yard) -> None:
    assert yard.dataset_folder(DIGEST) == yard.root / "data" / ("ab" * 8)
    assert short_digest(DIGEST) == "ab" * 8
    for broken in ("sha256:xyz", "../../etc", ""):
        with pytest.raises(InvalidInputError, match="is not a digest"):
            yard.dataset_folder(broken)


def test_a_symbolic_link_out_of_the_yard_is_refused(yard: Yard, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (yard.root / "runs").mkdir()
    (yard.root / "runs" / "job-0123abcd").symlink_to(outside)
    (yard.root / "models").symlink_to(outside)
    with pytest.raises(StorageError, match="leads out of the yard"):
        yard.run("job-0123abcd")
    with pytest.raises(StorageError, match="leads out of the yard"):
        yard.model_folder("quickstart", 1)


def test_a_symbolic_link_inside_a_run_or_a_model_is_refused(yard: Yard, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (yard.root / "runs" / "job-0123abcd" / "train").mkdir(parents=True)
    (yard.root / "runs" / "job-0123abcd" / "train" / "checkpoints").symlink_to(outside)
    with pytest.raises(StorageError, match="leads out of the yard"):
        yard.run("job-0123abcd")
    (yard.root / "models" / "quickstart").mkdir(parents=True)
    (yard.root / "models" / "quickstart" / "3").symlink_to(outside)
    with pytest.raises(StorageError, match="leads out of the yard"):
        yard.model_folder("quickstart", 3)


def test_a_run_that_is_a_link_hides_no_other(yard: Yard, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _make(yard, "other-0123abcd", "quickstart-aaaaaaaa")
    (yard.root / "runs" / "job-0123abcd").symlink_to(tmp_path)
    assert [run.run_id for run in yard.runs()] == ["other-0123abcd", "quickstart-aaaaaaaa"]
    assert "job-0123abcd leads out of the yard" in caplog.text
    assert yard.find_run("quickstart").run_id == "quickstart-aaaaaaaa"
    with pytest.raises(StorageError, match="leads out of the yard"):
        yard.find_run("job-0123abcd")


def test_a_link_to_a_whole_yard_is_followed(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(yard.root)
    assert open_yard(tmp_path / "link") == yard


def test_a_run_is_found_by_id_or_as_the_latest_of_its_job(yard: Yard) -> None:
    _make(yard, "quickstart-aaaaaaaa", "quickstart-00000000", "team.other-bbbbbbbb")
    assert yard.find_run("quickstart-aaaaaaaa").run_id == "quickstart-aaaaaaaa"
    assert yard.find_run("quickstart").run_id == "quickstart-00000000"
    assert yard.find_run("other").run_id == "team.other-bbbbbbbb"
    assert [run.run_id for run in yard.runs()] == ["quickstart-00000000", "quickstart-aaaaaaaa", "team.other-bbbbbbbb"]


def test_a_run_that_is_not_there_is_told_with_the_nearest(yard: Yard) -> None:
    with pytest.raises(NotFoundError) as caught:
        yard.find_run("quickstart")
    assert caught.value.hint == "this yard has no runs yet"
    _make(yard, "quickstart-aaaaaaaa")
    with pytest.raises(NotFoundError, match="no run and no job 'quikstart'") as caught:
        yard.find_run("quikstart")
    assert "did you mean quickstart" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        yard.find_run("zzz")
    assert "modelyard runs" in caught.value.hint


def test_every_place_of_a_run_lies_in_its_folder(yard: Yard) -> None:
    run = yard.run("job-0123abcd")
    places = [
        run.manifest, run.resolved, run.status, run.events, run.driver_log, run.control, run.attempts, run.metrics,
        run.logs, run.checkpoints, run.tensorboard, run.export, run.evaluate, run.report, run.stages("train"),
    ]  # fmt: skip
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(run.path) for place in places)


def test_what_another_process_has_begun_of_a_yard_is_no_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / ".yard.json.12-ab.tmp").write_text("")
    (tmp_path / "runs").mkdir()
    assert open_yard(tmp_path).root == tmp_path


def test_many_make_one_yard_at_once(tmp_path: Path) -> None:
    """As jobs do that start together on a new claim."""
    together = threading.Barrier(8)

    def make(number: int) -> list[Path]:
        roots = []
        for turn in range(20):
            together.wait(10)
            roots.append(open_yard(tmp_path / str(turn)).root)
        return roots

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert all(roots == made[0] for roots in made)
