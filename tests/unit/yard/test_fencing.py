"""The rules of claims, with a clock that stands still; real frozen processes are tests/integration/test_fencing.py."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import FencedError, IntegrityError, NewerLayoutError, RunHeldError
from modelyard.records import AttemptRecord, StageRecord
from modelyard.yard import (
    RunFolder,
    check_attempt,
    claim_group,
    claims,
    counts,
    holder,
    open_yard,
    publish_stage,
    read_stage,
    take_over,
)
from modelyard.yard.fencing import judge
from modelyard.yard.processes import ProcessIdentity, is_running, process_start, this_process

ZERO = "sha256:" + "0" * 64


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_yard(tmp_path / "yard").run("job-0123abcd")


def _stage(attempt: int, outcome: str = "") -> StageRecord:
    return StageRecord(
        stage="train", input_digest=ZERO, attempt=attempt, code_version="0", outputs=(), started="", completed="",
        details={"outcome": outcome},
    )  # fmt: skip


def _claim(attempt: int, role: str, driver: int, *commits: str) -> AttemptRecord:
    return AttemptRecord(
        attempt=attempt, role=role, driver=driver, host="h", pid=1, process_start="1", claimed="", commits=commits
    )


@pytest.mark.parametrize(
    ("released", "running", "silent_seconds", "state"),
    [
        (False, True, 0, "living"),
        (False, True, 59.9, "living"),
        (False, True, 60, "silent"),  # frozen: it exists, but does not beat
        (False, False, 0, "dead"),  # on this host: known at once
        (False, None, 59.9, "living"),  # another host: its heartbeat is all there is
        (False, None, 60, "silent"),
        (True, True, 0, "released"),
        (True, False, 999, "released"),
    ],
)
def test_judge(released: bool, running: bool | None, silent_seconds: float, state: str) -> None:
    assert judge(released=released, running=running, silent_seconds=silent_seconds, stale_seconds=60) == state


CLAIMS = (
    _claim(1, "driver", 1),
    _claim(2, "group", 1),
    _claim(3, "group", 1, "step-50.a2"),
    _claim(4, "driver", 4, "step-50.a2", "step-60.a3"),
    _claim(5, "group", 4, "step-60.a3"),
)


@pytest.mark.parametrize(
    ("attempt", "commit", "does"),
    [
        (2, "step-50.a2", True),
        (2, "step-55.a2", False),  # published after the group was replaced
        (3, "step-60.a3", True),
        (3, "step-70.a3", False),  # published after the run was taken over
        (5, "step-70.a5", True),  # the newest attempt's
        (2, "step-60.a3", False),
    ],
)
def test_a_commit_counts_when_no_later_claim_stands_or_the_next_lists_it(attempt: int, commit: str, does: bool) -> None:
    for order in itertools.permutations(CLAIMS):
        assert counts(order, attempt, commit) is does


@given(st.lists(st.tuples(st.sampled_from(["driver", "fresh", "group", "commit"]), st.integers(0, 30)), max_size=40))
def test_what_counts_of_earlier_attempts_is_settled_by_the_next_claim(actions: list[tuple[str, int]]) -> None:
    """Whoever commits late, in whatever order: of attempts before the newest claim exactly what it lists counts."""
    standing: list[AttemptRecord] = [_claim(1, "driver", 1)]
    published: list[tuple[int, str]] = []

    def counted() -> list[str]:
        return [commit for attempt, commit in published if counts(standing, attempt, commit)]

    for number, (action, pick) in enumerate(actions):
        newest = standing[-1]
        if action == "commit":
            attempt = 1 + pick % newest.attempt  # any attempt, fenced or not
            published.append((attempt, f"step-{number}.a{attempt}"))
        elif action == "fresh":
            standing.append(_claim(newest.attempt + 1, "driver", newest.attempt + 1))
        else:
            standing.append(_claim(newest.attempt + 1, action, newest.driver, *counted()))
        earlier = [c for a, c in published if a < standing[-1].attempt and counts(standing, a, c)]
        assert sorted(earlier) == sorted(standing[-1].commits)


def test_numbers_go_up_over_drivers_and_groups(run: RunFolder) -> None:
    with take_over(run, commits=lambda: ["a"]) as first:
        assert first.attempt == 1
        assert claim_group(run, driver=1, commits=lambda: ["b", "c"]) == 2
        assert claim_group(run, driver=1) == 3
    with take_over(run) as second:
        assert second.attempt == 4
    standing = claims(run)
    assert [(claim.attempt, claim.role, claim.driver) for claim in standing] == [
        (1, "driver", 1),
        (2, "group", 1),
        (3, "group", 1),
        (4, "driver", 4),
    ]
    assert [claim.commits for claim in standing] == [("a",), ("b", "c"), (), ()]


def test_a_group_is_fenced_by_a_later_group_a_driver_only_by_a_driver(run: RunFolder) -> None:
    with take_over(run) as lease:
        group = claim_group(run, driver=lease.attempt)
        check_attempt(run, group)
        later = claim_group(run, driver=lease.attempt)
        lease.check()
        check_attempt(run, later)
        with pytest.raises(FencedError, match=f"taken over by attempt {later}"):
            check_attempt(run, group)
    with take_over(run) as other:
        other.check()
        for fenced in (lease.attempt, group, later):
            with pytest.raises(FencedError, match=f"by attempt {other.attempt} "):
                check_attempt(run, fenced)
        with pytest.raises(FencedError):
            claim_group(run, driver=lease.attempt)


def test_an_attempt_that_was_never_claimed_is_fenced(run: RunFolder) -> None:
    with pytest.raises(FencedError, match="never claimed"):
        check_attempt(run, 7)


def test_a_living_driver_is_not_taken_over_and_a_silent_one_is(run: RunFolder) -> None:
    with take_over(run) as lease:
        for path in run.attempts.glob("*.alive"):
            os.utime(path, (1000, 1000))
        with pytest.raises(RunHeldError, match=f"pid {os.getpid()} on ") as caught:
            take_over(run, now=lambda: 1059)
        assert "taken over when silent for 60 s" in caught.value.hint
        frozen = holder(run, now=lambda: 1060)
        assert frozen is not None
        assert (frozen.state, frozen.since) == ("silent", "1970-01-01T00:16:40Z")
        with take_over(run, now=lambda: 1060) as other:
            other.check()
            with pytest.raises(FencedError):
                lease.check()


def test_a_run_without_claims_has_no_holder(run: RunFolder) -> None:
    assert holder(run) is None


def test_a_released_run_says_since_when(run: RunFolder) -> None:
    lease = take_over(run)
    assert holder(run).alive  # type: ignore[union-attr]
    lease.release()
    lease.release()
    gone = holder(run)
    assert gone is not None
    assert gone.state == "released"
    assert gone.since == gone.last_seen


def test_a_pid_used_again_is_not_the_holder() -> None:
    here = this_process()
    assert is_running(here) is True
    assert is_running(ProcessIdentity(here.host, here.boot_id, here.pid_namespace, here.pid, "12345")) is False
    assert (
        is_running(ProcessIdentity(here.host, "another boot", here.pid_namespace, here.pid, here.process_start))
        is False
    )
    assert is_running(ProcessIdentity("elsewhere", here.boot_id, here.pid_namespace, 1, "1")) is None
    assert is_running(ProcessIdentity(here.host, here.boot_id, "pid:[1]", 1, "1")) is None
    assert process_start(2**22 + 1) is None


def test_a_zombie_does_not_run() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert process_start(child) is None
    finally:
        os.waitpid(child, 0)


def test_a_stage_record_stands_over_take_overs(run: RunFolder) -> None:
    assert read_stage(run, "train") is None
    with take_over(run):
        publish_stage(run, _stage(1, "first"))
        publish_stage(run, _stage(1, "again"))
    for _ in range(3):
        take_over(run).release()
    record = read_stage(run, "train")
    assert record is not None
    assert record.details["outcome"] == "again"
    assert [claim.stages.keys() for claim in claims(run)] == [set(), {"train"}, {"train"}, {"train"}]
    with take_over(run) as lease:
        publish_stage(run, _stage(lease.attempt, "newer"))
    newer = read_stage(run, "train")
    assert newer is not None
    assert newer.details["outcome"] == "newer"


def test_a_stage_record_that_no_claim_saw_does_not_count(run: RunFolder) -> None:
    take_over(run).release()
    take_over(run).release()
    run.stages("train").parent.mkdir(exist_ok=True)
    for path in (run.stages("train"), run.stages("train").with_name("train.a00000001.json")):
        path.write_bytes(_stage(1, "late").to_json())
    assert read_stage(run, "train") is None
    publish_stage(run, _stage(2, "good"))
    run.stages("train").write_bytes(_stage(1, "late").to_json())
    record = read_stage(run, "train")
    assert record is not None
    assert record.details["outcome"] == "good"


def test_a_fenced_driver_records_nothing(run: RunFolder) -> None:
    take_over(run).release()
    take_over(run).release()
    with pytest.raises(FencedError):
        publish_stage(run, _stage(1))
    assert not run.stages("train").exists()


def test_what_a_killed_driver_left_behind_is_swept(run: RunFolder) -> None:
    take_over(run).release()
    left = [run.path / ".status.json.1-a.tmp", run.checkpoints / "step-00000050.a1" / ".COMMITTED.json.1-b.tmp"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    take_over(run).release()
    assert not any(path.exists() for path in left)


def test_damaged_and_newer_claims_are_refused_by_name(run: RunFolder) -> None:
    take_over(run).release()
    path = run.attempts / "00000001.json"
    path.write_text('{"schema": 2}')
    with pytest.raises(NewerLayoutError, match=r"00000001\.json has schema 2"):
        take_over(run)
    path.write_text('{"schema": 1}')
    with pytest.raises(IntegrityError, match=r"00000001\.json is not a AttemptRecord"):
        take_over(run)


def test_a_fresh_start_voids_what_later_claims_had_listed(run: RunFolder) -> None:
    with take_over(run) as first:
        group = claim_group(run, driver=first.attempt)
        publish_stage(run, _stage(first.attempt, "old"))
    commit = f"step-00000050.a{group}"
    with take_over(run, commits=lambda: [commit]):
        assert counts(claims(run), group, commit)
    with take_over(run, fresh=True):
        assert not counts(claims(run), group, commit)
        assert read_stage(run, "train") is None


def test_a_damaged_stage_record_hides_no_whole_one(run: RunFolder) -> None:
    with take_over(run):
        publish_stage(run, _stage(1, "old"))
    with take_over(run):
        publish_stage(run, _stage(2, "new"))
        (run.stages("train").parent / "train.a00000001.json").write_text('{"torn')
        run.stages("train").write_text("")
        found = read_stage(run, "train")
        assert found is not None
        assert found.details == {"outcome": "new"}


def test_a_fresh_start_leaves_nothing_counting_before_anything_is_removed(run: RunFolder) -> None:
    with take_over(run):
        publish_stage(run, _stage(1, "old"))
    with take_over(run, commits=lambda: ["step-00000005.a1"], fresh=True):
        assert read_stage(run, "train") is None
        assert not counts(claims(run), 1, "step-00000005.a1")
    with take_over(run):
        assert read_stage(run, "train") is None, "killed right after its claim, a fresh start stays one"
