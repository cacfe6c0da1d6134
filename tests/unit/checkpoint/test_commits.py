from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard import checkpoint
from modelyard.checkpoint.commits import MARKER, FolderName, parse_folder
from modelyard.checkpoint.fragments import Fragment
from modelyard.checkpoint.ranges import MASTER
from modelyard.errors import FencedError, IntegrityError, InvalidInputError, NewerLayoutError, StorageError
from modelyard.yard import RunFolder, take_over
from support.states import Group, PlainState, claim, claimed_run, facts, in_child, small_state

POINTS_BEFORE = ["save.begin", "fragments.half", "fragments.written", "fragments.durable", "gathered", "commit.before"]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return claimed_run(tmp_path)[0]


def test_folder_names() -> None:
    assert parse_folder("step-00000050.a3") == FolderName(attempt=3, step=50)
    assert parse_folder(str(FolderName(1, 123456789))) == FolderName(1, 123456789)
    for name in ("step-50.a3", "step-00000050", "step-000000050.a3", "step-00000050.a03", "x", ".step-00000050.a3"):
        assert parse_folder(name) is None


@pytest.mark.parametrize(("saving", "restoring"), [(1, 1), (3, 1), (1, 3), (2, 3)])
def test_saved_by_one_group_restored_by_another(run: RunFolder, saving: int, restoring: int) -> None:
    source = small_state()
    shares = tuple(i / saving for i in range(saving + 1))
    commits = Group(saving).run(
        lambda r: checkpoint.save(PlainState(source.values, shares, r.rank), run, facts(5, 1), ranks=r)
    )
    assert {commit.name for commit in commits} == {"step-00000005.a1"}

    def fill(ranks: checkpoint.Ranks) -> PlainState:
        blank = source.blank()
        found = checkpoint.latest(run, ranks=ranks)
        assert found.commit is not None
        checkpoint.restore(blank, found.commit, ranks=ranks)
        return blank

    for filled in Group(restoring).run(fill):
        assert filled.same_values(source)
        assert filled.refreshed == 1
    weights = dict(checkpoint.assemble(commits[0]))
    assert list(weights) == ["layer.weight", "stem.weight", "seen"]
    assert all(torch.equal(value, source.values[name, kind]) for (name, kind), value in source.values.items()
               if kind in ("master", "frozen", "buffer") for value in [weights[name]])  # fmt: skip


def test_the_digest_of_a_state_is_of_values_alone(run: RunFolder, tmp_path: Path) -> None:
    source = small_state()
    one = checkpoint.save(source, run, facts(5, 1))
    other_run, _ = claimed_run(tmp_path / "other")
    cut = (0.0, 0.1, 0.1, 1.0)
    three = Group(3).run(
        lambda r: checkpoint.save(PlainState(source.values, cut, r.rank), other_run, facts(5, 1), ranks=r)
    )[0]
    assert checkpoint.state_digest(one) == checkpoint.state_digest(three)
    source.values["layer.weight", "exp_avg"][3, 3] += 1
    changed = checkpoint.save(source, run, facts(6, 1))
    assert checkpoint.state_digest(changed) != checkpoint.state_digest(one)
    assert checkpoint.state_digest(changed, optimizer=False) == checkpoint.state_digest(one, optimizer=False)


def test_the_record_tells_what_was_trained(run: RunFolder) -> None:
    commit = checkpoint.save(small_state(), run, facts(5, 1, **{"validation/loss": 2.5}))
    [again] = checkpoint.committed(run)
    assert again == commit
    assert (again.step, again.attempt, again.record.tokens) == (5, 1, 150)
    assert again.record.metrics == {"validation/loss": 2.5}
    assert [t.shape for t in again.record.tensors] == [(7, 5), (11,), (3,)]


def test_the_same_save_again_returns_what_stands(run: RunFolder) -> None:
    first = checkpoint.save(small_state(), run, facts(5, 1))
    assert checkpoint.save(small_state(1), run, facts(5, 1)) == first
    checkpoint.verify(first)


@pytest.mark.parametrize("point", POINTS_BEFORE)
def test_killed_before_the_commit_the_one_before_stands(run: RunFolder, point: str) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    code = in_child(lambda: checkpoint.save(small_state(1), run, facts(10, 1)), fault_point=f"checkpoint.{point}:1")
    assert code == -signal.SIGKILL
    assert checkpoint.latest(run).commit.step == 5
    attempt = claim(run)
    commit = checkpoint.save(small_state(2), run, facts(10, attempt))
    checkpoint.prune(run, checkpoint.Keep(last=2), attempt=attempt)
    assert sorted(os.listdir(run.checkpoints)) == ["step-00000005.a1", commit.name]


@pytest.mark.parametrize("point", ["checkpoint.commit.after", "yard.publish.linked"])
def test_killed_after_the_commit_it_stands(run: RunFolder, point: str) -> None:
    code = in_child(lambda: checkpoint.save(small_state(1), run, facts(10, 1)), fault_point=f"{point}:1")
    assert code == -signal.SIGKILL
    found = checkpoint.latest(run)
    assert found.commit.step == 10
    blank = small_state().blank()
    checkpoint.restore(blank, found.commit)
    assert blank.same_values(small_state(1))


def damage(commit: checkpoint.Commit, how: str) -> None:
    path = commit.paths[0]
    match how:
        case "a flipped bit":
            data = bytearray(path.read_bytes())
            data[-3] ^= 4
            path.write_bytes(bytes(data))
        case "a torn file":
            path.write_bytes(path.read_bytes()[:-5])
        case "a missing file":
            path.unlink()
        case "a torn marker":
            (commit.folder / MARKER).write_bytes((commit.folder / MARKER).read_bytes()[:40])
        case "an empty marker":
            (commit.folder / MARKER).write_bytes(b"")
        case "a marker of another folder":
            shutil.copy(commit.folder.parent / "step-00000005.a1" / MARKER, commit.folder / MARKER)
        case "a link":
            path.rename(path.with_name("elsewhere"))
            path.symlink_to("elsewhere")


DAMAGES = [
    "a flipped bit",
    "a torn file",
    "a missing file",
    "a torn marker",
    "an empty marker",
    "a marker of another folder",
    "a link",
]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("world", [1, 2])
def test_a_damaged_commit_is_passed_over_with_a_warning(run: RunFolder, how: str, world: int) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    damage(checkpoint.save(small_state(1), run, facts(10, 1)), how)
    for found in Group(world).run(lambda ranks: checkpoint.latest(run, ranks=ranks)):
        assert found.commit.step == 5
        [warning] = found.warnings
        assert "step-00000010.a1 cannot be used" in warning
        assert str(run.checkpoints / "step-00000010.a1") in warning


@pytest.mark.parametrize("how", DAMAGES)
def test_what_was_passed_over_takes_no_place_among_the_kept(run: RunFolder, how: str) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    damage(checkpoint.save(small_state(1), run, facts(10, 1)), how)
    checkpoint.latest(run)
    commit = checkpoint.save(small_state(2), run, facts(10, claim(run)))
    attempt = claim(run)
    assert checkpoint.latest(run).commit == commit
    checkpoint.prune(run, checkpoint.Keep(last=2), attempt=attempt)
    assert sorted(os.listdir(run.checkpoints)) == ["step-00000005.a1", commit.name]


def test_what_was_mended_counts_again(run: RunFolder) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    commit = checkpoint.save(small_state(1), run, facts(10, 1))
    whole = commit.paths[0].read_bytes()
    damage(commit, "a torn file")
    checkpoint.latest(run)
    assert commit.passed_over
    commit.paths[0].write_bytes(whole)
    assert checkpoint.latest(run) == checkpoint.Found(commit)
    assert not commit.passed_over


def test_when_all_are_damaged_nothing_is_started_anew(run: RunFolder) -> None:
    for step in (5, 10):
        damage(checkpoint.save(small_state(), run, facts(step, 1)), "a torn file")
    with pytest.raises(IntegrityError, match="none of the 2 checkpoints"):
        checkpoint.latest(run)


def test_a_run_without_commits_has_none(run: RunFolder) -> None:
    assert checkpoint.latest(run) == checkpoint.Found(None)


def test_a_later_attempt_goes_before_a_higher_step(run: RunFolder) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    damage(checkpoint.save(small_state(), run, facts(100, 1)), "a flipped bit")
    attempt = claim(run)
    checkpoint.save(small_state(2), run, facts(50, attempt))
    found = checkpoint.latest(run)
    assert (found.commit.step, found.warnings) == (50, ())


def test_a_marker_of_a_newer_modelyard_is_said_to_be_one(run: RunFolder) -> None:
    commit = checkpoint.save(small_state(), run, facts(5, 1))
    marker = commit.folder / MARKER
    marker.write_text(marker.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(NewerLayoutError, match="schema 2"):
        checkpoint.open_commit(run, commit.name)


def test_a_record_that_names_a_file_elsewhere_is_refused(run: RunFolder) -> None:
    commit = checkpoint.save(small_state(), run, facts(5, 1))
    marker = commit.folder / MARKER
    marker.write_text(marker.read_text().replace("fragments-00000", "../../../secret"))
    with pytest.raises(IntegrityError, match="outside its folder"):
        checkpoint.open_commit(run, commit.name)


@pytest.mark.parametrize("world", [1, 3])
def test_a_fenced_attempt_commits_nothing_and_every_rank_hears_it(run: RunFolder, world: int) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    shares = tuple(i / world for i in range(world + 1))
    claim(run)
    errors = Group(world).run(
        lambda r: checkpoint.save(PlainState(small_state().values, shares, r.rank), run, facts(6, 1), ranks=r)
    )
    assert [type(error) for error in errors] == [FencedError] * world
    assert os.listdir(run.checkpoints) == ["step-00000005.a1"]


@dataclass
class TakenOver(PlainState):
    """Is taken over between the fragments and the commit."""

    run: RunFolder | None = None

    def scalars(self) -> dict[str, Any]:
        assert self.run is not None
        claim(self.run)
        return super().scalars()


def test_taken_over_while_writing(run: RunFolder) -> None:
    with pytest.raises(FencedError, match="taken over by attempt 2"):
        checkpoint.save(TakenOver(small_state().values, run=run), run, facts(5, 1))
    assert os.listdir(run.checkpoints) == []


@pytest.mark.parametrize("point", ["checkpoint.fragments.half", "checkpoint.commit.before", "yard.publish.written"])
def test_a_frozen_saver_that_wakes_after_the_take_over_changes_nothing(run: RunFolder, point: str) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    child = os.fork()
    if child == 0:
        os.environ["MODELYARD_FAULT_POINT"] = f"{point}:1:stop"
        code = 1
        try:
            checkpoint.save(small_state(1), run, facts(10, 1))
        except FencedError:
            code = 7
        finally:
            os._exit(code)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    attempt = claim(run)
    mine = checkpoint.save(small_state(2), run, facts(7, attempt))
    os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert checkpoint.latest(run).commit == mine
    assert sorted(os.listdir(run.checkpoints)) == ["step-00000005.a1", mine.name]


def test_a_commit_that_slipped_in_past_the_claim_does_not_count(run: RunFolder) -> None:
    """Between the claimant's look and its claim: readers do not count it, and the next prune removes it."""
    checkpoint.save(small_state(), run, facts(5, 1))
    checkpoint.save(small_state(1), run, facts(10, 1))
    with take_over(run, commits=lambda: ["step-00000005.a1"]) as lease:
        attempt = lease.attempt
    assert checkpoint.latest(run).commit.step == 5
    mine = checkpoint.save(small_state(2), run, facts(7, attempt))
    assert checkpoint.committed_names(run) == [mine.name, "step-00000005.a1"]
    assert checkpoint.prune(run, checkpoint.Keep(last=5), attempt=attempt) == ("step-00000010.a1",)


class Failing(PlainState):
    """Its second rank cannot write."""

    def owned(self) -> Iterator[Fragment]:
        if self.rank == 1:
            raise OSError(28, "No space left on device")
        yield from super().owned()


def test_one_rank_that_cannot_write_stops_the_save_on_every_rank(run: RunFolder) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    values, shares = small_state().values, (0.0, 0.3, 0.6, 1.0)
    errors = Group(3).run(lambda r: checkpoint.save(Failing(values, shares, r.rank), run, facts(6, 1), ranks=r))
    assert [type(error) for error in errors] == [StorageError] * 3
    assert all("the disk is full" in str(error) for error in errors)
    assert str(errors[0]).startswith("rank 1: ")
    assert os.listdir(run.checkpoints) == ["step-00000005.a1"]


def test_a_file_that_the_system_cuts_off_is_no_checkpoint(run: RunFolder) -> None:
    checkpoint.save(small_state(), run, facts(5, 1))
    large = PlainState({("w", MASTER): torch.ones(200_000)})

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        with pytest.raises(StorageError, match="largest size"):
            checkpoint.save(large, run, facts(6, 1))

    assert in_child(limited) == 0
    assert os.listdir(run.checkpoints) == ["step-00000005.a1"]
    assert checkpoint.latest(run).commit.step == 5


def test_a_folder_that_cannot_be_written_is_said_so(run: RunFolder) -> None:
    run.checkpoints.parent.mkdir(parents=True)
    run.checkpoints.write_text("in the way")
    with pytest.raises(StorageError):
        checkpoint.save(small_state(), run, facts(5, 1))


class Forgetful(PlainState):
    """Writes less than it should."""

    def owned(self) -> Iterator[Fragment]:
        yield from list(super().owned())[1:]


def test_what_is_not_whole_is_never_committed(run: RunFolder) -> None:
    with pytest.raises(IntegrityError, match=r"would not be whole: layer\.weight: master lacks elements \[0:35\]"):
        checkpoint.save(Forgetful(small_state().values), run, facts(5, 1))
    assert os.listdir(run.checkpoints) == []


def test_another_model_is_refused_both_ways_before_anything_is_touched(run: RunFolder) -> None:
    commit = checkpoint.save(small_state(), run, facts(5, 1))
    blank = small_state().blank()
    blank.values["extra", MASTER] = torch.zeros(2)
    del blank.values["seen", "buffer"]
    with pytest.raises(InvalidInputError, match=r"extra: in the model, not.*seen: in the checkpoint, not"):
        checkpoint.restore(blank, commit)
    assert not blank.values["layer.weight", MASTER].any()


def test_another_training_is_refused(run: RunFolder) -> None:
    commit = checkpoint.save(small_state(), run, facts(5, 1))
    with pytest.raises(InvalidInputError, match="is of training sha256:1111"):
        checkpoint.restore(small_state().blank(), commit, training_digest="sha256:" + "3" * 64)


def test_another_dataset_is_refused(run: RunFolder) -> None:
    commit = checkpoint.save(small_state(), run, facts(5, 1))
    blank = small_state().blank()
    with pytest.raises(InvalidInputError, match="is of dataset sha256:2222"):
        checkpoint.restore(blank, commit, dataset_digest="sha256:" + "3" * 64)
    assert not blank.values["layer.weight", MASTER].any()


def test_the_driver_lists_commits_without_torch(run: RunFolder) -> None:
    import subprocess
    import sys

    checkpoint.save(small_state(), run, facts(5, 1))
    code = (
        "import sys; from pathlib import Path; from modelyard import checkpoint; from modelyard.yard import RunFolder\n"
        "assert checkpoint.latest(RunFolder('r', Path(sys.argv[1]))).commit.step == 5\n"
        "assert 'torch' not in sys.modules and 'deepspeed' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(run.path)], check=True)
