"""Who may write in a run: numbered claims, of which the highest holds.

`runs/<id>/attempts/00000001.json` is a claim (AttemptRecord), put-if-absent, so every number is taken once. A driver
claim takes the run over; a group claim is a (re)start of the worker group below that driver. Whoever finds a later
claim stops (FencedError). Safety rests on the numbers alone; clocks and heartbeats only decide how soon one may take
over. What an older attempt still slips in after the take-over does not count: each claim lists the commits and stage
records that stood, and of earlier attempts no others count. A fresh start's claim lists none.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from modelyard.errors import ConflictError, FencedError, IntegrityError, RunHeldError, StorageError
from modelyard.records import AttemptRecord, StageRecord
from modelyard.yard.digests import digest_bytes
from modelyard.yard.layout import RunFolder
from modelyard.yard.processes import ProcessIdentity, is_running, this_process
from modelyard.yard.publishing import publish, replace, storage_errors, sweep
from modelyard.yard.reading import read_bytes, read_record

STALE_SECONDS = 60.0  # a holder that has not been seen for this long may be taken over
BEAT_SECONDS = 5.0
NO_COMMITS: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True)
class Holder:
    """The last driver of a run: who, whether it lives, and when it was last seen (RFC 3339)."""

    attempt: int
    host: str
    pid: int
    claimed: str
    last_seen: str
    state: Literal["living", "silent", "dead", "released"]

    @property
    def alive(self) -> bool:
        return self.state == "living"

    @property
    def since(self) -> str | None:
        """Since when the driver has been gone; None while it lives."""
        return None if self.alive else self.last_seen


class Lease:
    """A driver's hold on a run: `attempt` is its number, a daemon thread renews its heartbeat."""

    def __init__(self, run: RunFolder, attempt: int, beat_seconds: float = BEAT_SECONDS) -> None:
        self.run = run
        self.attempt = attempt
        self._beat_seconds = beat_seconds
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{attempt}", daemon=True)

    def start(self) -> Self:
        """Begin to renew the heartbeat."""
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise FencedError when a later driver has taken the run over."""
        check_attempt(self.run, self.attempt)

    def release(self) -> None:
        """Let the run go: the next driver need not wait. Twice is fine."""
        if self._released.is_set():
            return
        self._released.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(StorageError):  # a full disk: the process ends, which says the same
            replace(_released_path(self.run, self.attempt), b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._released.wait(self._beat_seconds):
            with contextlib.suppress(OSError):
                os.utime(_heartbeat_path(self.run, self.attempt))


def take_over(
    run: RunFolder,
    *,
    commits: Callable[[], Sequence[str]] = NO_COMMITS,
    fresh: bool = False,
    stale_seconds: float = STALE_SECONDS,
    now: Callable[[], float] = time.time,
    beat_seconds: float = BEAT_SECONDS,
) -> Lease:
    """Claim a run for this driver; `commits` names the checkpoint folders that count at this moment.

    With `fresh` nothing that earlier attempts made counts from now on, neither commits nor stages.
    Raises RunHeldError, naming the holder, while another driver lives.
    """
    while True:
        standing = claims(run)
        _refuse_living(run, standing, stale_seconds, now)
        number = standing[-1].attempt + 1 if standing else 1
        heartbeat = _heartbeat_path(run, number)
        replace(heartbeat, b"")
        with contextlib.suppress(ConflictError):  # another driver was first: look at it
            counted, stages = ((), {}) if fresh else (commits(), _standing_stages(run))
            _claim(run, number, "driver", number, commits=counted, stages=stages, at=now())
            break
    sweep(run.attempts, older_than_seconds=stale_seconds)
    for folder in (run.path, run.train, run.stages("train").parent, *run.checkpoints.glob("step-*")):
        sweep(folder, older_than_seconds=0)  # all who wrote here are fenced: what they had not yet named never is
    return Lease(run, number, beat_seconds).start()


def claim_group(run: RunFolder, *, driver: int, commits: Callable[[], Sequence[str]] = NO_COMMITS) -> int:
    """Claim the next attempt for a (re)started worker group below a driver; called by its rank 0.

    Raises FencedError when a later driver has taken the run over.
    """
    while True:
        check_attempt(run, driver)
        number = claims(run)[-1].attempt + 1
        counted = commits()
        check_attempt(run, driver)
        with contextlib.suppress(ConflictError):
            stages = _standing_stages(run)
            _claim(run, number, "group", driver, commits=counted, stages=stages, at=time.time())
            return number


def check_attempt(run: RunFolder, attempt: int) -> None:
    """Raise FencedError when a later claim fences `attempt`: any later driver, or for a group a later group."""
    numbers = _numbers(run)
    if attempt not in numbers:
        raise FencedError(f"attempt {attempt} of run {run.run_id} was never claimed; nothing was changed")
    later = [_read_claim(run, number) for number in numbers if number > attempt]
    mine = _read_claim(run, attempt) if later else None
    for claim in reversed(later):
        if claim.role == "driver" or (mine is not None and mine.role == "group"):
            raise FencedError(
                f"attempt {attempt} of run {run.run_id} was taken over by attempt {claim.attempt} "
                f"({claim.role} on {claim.host}, pid {claim.pid}, at {claim.claimed}); this one changes nothing more"
            )


def claims(run: RunFolder) -> list[AttemptRecord]:
    """All claims on a run, oldest first."""
    return [_read_claim(run, number) for number in _numbers(run)]


def counts(standing: Sequence[AttemptRecord], attempt: int, commit: str) -> bool:
    """Whether what `attempt` committed as `commit` counts: the next claim and every later driver's list it."""
    later = sorted((claim for claim in standing if claim.attempt > attempt), key=_number)
    asked = [claim for place, claim in enumerate(later) if place == 0 or claim.role == "driver"]
    return all(commit in claim.commits for claim in asked)


def counted_commits(run: RunFolder, commits: Iterable[tuple[str, int]]) -> list[str]:
    """Of checkpoint folders with their attempts, those that count, in the order given."""
    standing = claims(run)
    return [commit for commit, attempt in commits if counts(standing, attempt, commit)]


def publish_stage(run: RunFolder, record: StageRecord) -> None:
    """Write a stage's record, under the attempt's own name and as `stages/<stage>.json` for people.

    Raises FencedError before it (nothing is written) or after it (what is written does not count).
    """
    for path in (_stage_path(run, record.stage, record.attempt), run.stages(record.stage)):
        replace(path, record.to_json(), guard=lambda: check_attempt(run, record.attempt))
    check_attempt(run, record.attempt)


def read_stage(run: RunFolder, stage: str) -> StageRecord | None:
    """A stage's newest record that counts, or None: what a fenced driver slipped in hides no other."""
    found = _read_stage(run, stage)
    return found.record if found else None


def holder(
    run: RunFolder, *, stale_seconds: float = STALE_SECONDS, now: Callable[[], float] = time.time
) -> Holder | None:
    """The run's last driver and whether it lives; None when the run has had none."""
    return _holder(run, claims(run), stale_seconds, now)


def judge(
    *, released: bool, running: bool | None, silent_seconds: float, stale_seconds: float
) -> Literal["living", "silent", "dead", "released"]:
    """What to think of a holder. `running` is None when its process cannot be seen from here.

    A process that exists but has not beaten for long is frozen: silent, and may be taken over.
    """
    if released:
        return "released"
    if running is False:
        return "dead"
    return "living" if silent_seconds < stale_seconds else "silent"


def _holder(
    run: RunFolder, standing: Sequence[AttemptRecord], stale_seconds: float, now: Callable[[], float]
) -> Holder | None:
    last = next((claim for claim in reversed(standing) if claim.role == "driver"), None)
    if last is None:
        return None
    released = _mtime(_released_path(run, last.attempt))
    seen = released or _mtime(_heartbeat_path(run, last.attempt)) or _seconds(last.claimed)
    who = ProcessIdentity(last.host, last.boot_id, last.pid_namespace, last.pid, last.process_start)
    state = judge(
        released=released is not None,
        running=is_running(who),
        silent_seconds=now() - seen,
        stale_seconds=stale_seconds,
    )
    return Holder(last.attempt, last.host, last.pid, last.claimed, _rfc3339(seen), state)


def _refuse_living(
    run: RunFolder, standing: Sequence[AttemptRecord], stale_seconds: float, now: Callable[[], float]
) -> None:
    last = _holder(run, standing, stale_seconds, now)
    if last is not None and last.alive:
        raise RunHeldError(
            f"run {run.run_id} is held by pid {last.pid} on {last.host} since {last.claimed} "
            f"(attempt {last.attempt}, last seen {last.last_seen})",
            hint=f"`modelyard logs -f {run.run_id}` follows it; it is taken over when silent for {stale_seconds:.0f} s",
        )


def _claim(
    run: RunFolder, number: int, role: str, driver: int, *, commits: Sequence[str], stages: dict[str, str], at: float
) -> None:
    who = this_process()
    record = AttemptRecord(
        attempt=number, role=role, driver=driver, host=who.host, pid=who.pid, process_start=who.process_start,
        boot_id=who.boot_id, pid_namespace=who.pid_namespace, claimed=_rfc3339(at), commits=tuple(commits),
        stages=stages,
    )  # fmt: skip
    publish(run.attempts / f"{number:08d}.json", record.to_json())


class _FoundStage(NamedTuple):
    record: StageRecord
    digest: str


def _read_stage(run: RunFolder, stage: str) -> _FoundStage | None:
    drivers = [claim for claim in claims(run) if claim.role == "driver"]
    newest: _FoundStage | None = None
    folder = run.stages(stage).parent
    for path in (run.stages(stage), *sorted(folder.glob(f"{stage}.a*.json"))):
        data = read_bytes(path)
        if data is None:
            continue
        try:
            found = _FoundStage(StageRecord.from_json(data, origin=str(path)), digest_bytes(data))
        except IntegrityError:  # damaged: its twin stands, or the stage is done again
            continue
        later = [claim for claim in drivers if claim.attempt > found.record.attempt]
        counted = all(claim.stages.get(stage) == found.digest for claim in later)
        if counted and (newest is None or found.record.attempt > newest.record.attempt):
            newest = found
    return newest


def _standing_stages(run: RunFolder) -> dict[str, str]:
    names = {path.name.split(".")[0] for path in run.stages("train").parent.glob("[!.]*.json")}
    standing = {name: _read_stage(run, name) for name in sorted(names)}
    return {name: found.digest for name, found in standing.items() if found}


def _stage_path(run: RunFolder, stage: str, attempt: int) -> Path:
    return run.stages(stage).with_name(f"{stage}.a{attempt:08d}.json")


def _numbers(run: RunFolder) -> list[int]:
    with storage_errors("read", run.attempts):
        names = os.listdir(run.attempts) if run.attempts.is_dir() else []
    return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit())


def _read_claim(run: RunFolder, number: int) -> AttemptRecord:
    return read_record(run.attempts / f"{number:08d}.json", AttemptRecord)


def _heartbeat_path(run: RunFolder, attempt: int) -> Path:
    return run.attempts / f"{attempt:08d}.alive"


def _released_path(run: RunFolder, attempt: int) -> Path:
    return run.attempts / f"{attempt:08d}.released"


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _number(claim: AttemptRecord) -> int:
    return claim.attempt


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()
