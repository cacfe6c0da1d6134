"""Commits: checkpoint folders that exist, because `COMMITTED.json` was written into them last.

Lists those that count, verifies them, falls back. Knows no tensors and imports no torch: the driver calls it too.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.checkpoint.ranks import ALONE, Ranks
from modelyard.errors import IntegrityError, ModelyardError, StorageError
from modelyard.records import CommitRecord
from modelyard.yard import RunFolder, counted_commits, read_record, replace, verify_file
from modelyard.yard.publishing import storage_errors

MARKER = "COMMITTED.json"
PASSED_OVER = "PASSED_OVER"  # beside a marker: training went on from an older commit, for the reason written in it
_FOLDER = re.compile(r"step-(\d{8,})\.a(\d+)")


@dataclass(frozen=True, order=True)
class FolderName:
    """What a checkpoint folder's name says, in the order in which commits supersede each other.

    The attempt comes first: a later attempt went on from what it could read, even if an earlier one got further.
    """

    attempt: int
    step: int

    def __str__(self) -> str:
        return f"step-{self.step:08d}.a{self.attempt}"


def parse_folder(name: str) -> FolderName | None:
    """The step and attempt of a checkpoint folder, or None for anything else."""
    found = _FOLDER.fullmatch(name)
    parsed = FolderName(int(found[2]), int(found[1])) if found else None
    return parsed if parsed and str(parsed) == name else None


@dataclass(frozen=True)
class Commit:
    """A committed checkpoint and its record."""

    folder: Path
    record: CommitRecord

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def step(self) -> int:
        return self.record.step

    @property
    def attempt(self) -> int:
        return self.record.attempt

    @property
    def passed_over(self) -> bool:
        """Whether the newest restore that looked at it found it broken."""
        return (self.folder / PASSED_OVER).exists()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The fragment files that the record names; others in the folder are not looked at."""
        return tuple(self.folder / file.path for file in self.record.files)


@dataclass(frozen=True)
class Found:
    """The newest whole commit, and a warning for each newer one that is broken."""

    commit: Commit | None
    warnings: tuple[str, ...] = ()


def folders(run: RunFolder) -> list[FolderName]:
    """Every checkpoint folder of a run, committed or not, newest first."""
    with storage_errors("read", run.checkpoints):
        if not run.checkpoints.is_dir():
            return []
        names = [parse_folder(entry.name) for entry in run.checkpoints.iterdir() if entry.is_dir()]
    return sorted((name for name in names if name is not None), reverse=True)


def committed_names(run: RunFolder) -> list[str]:
    """The folders of the commits that count, newest first: what a claim on the run writes down."""
    marked = [name for name in folders(run) if (run.checkpoints / str(name) / MARKER).exists()]
    counting = set(counted_commits(run, [(str(name), name.attempt) for name in marked]))
    return [str(name) for name in marked if str(name) in counting]


def committed(run: RunFolder) -> list[Commit]:
    """The commits that count and whose record can be read, newest first. Digests are not checked."""
    commits = []
    for name in committed_names(run):
        try:
            commits.append(open_commit(run, name))
        except IntegrityError:
            continue  # `latest` tells of it
    return commits


def open_commit(run: RunFolder, name: str) -> Commit:
    """The commit of that folder. Raises NotFoundError, IntegrityError, NewerLayoutError."""
    folder = run.checkpoints / name
    record = read_record(folder / MARKER, CommitRecord)
    if str(FolderName(record.attempt, record.step)) != name:
        raise IntegrityError(f"{folder / MARKER} is of step {record.step}, attempt {record.attempt}: not of its folder")
    if any("/" in file.path or file.path.startswith(".") for file in record.files):
        raise IntegrityError(f"{folder / MARKER} names files outside its folder")
    return Commit(folder, record)


def verify(commit: Commit, *, ranks: Ranks = ALONE) -> None:
    """Check this rank's share of the commit's files. Raises IntegrityError that names the file."""
    for number, file in enumerate(commit.record.files):
        if number % ranks.world == ranks.rank:
            verify_file(commit.folder / file.path, file)


def latest(run: RunFolder, *, ranks: Ranks = ALONE) -> Found:
    """The newest commit that counts and is whole, the same one on every rank; each calls.

    Every file's digest is checked, the files shared out over the ranks. A broken commit is passed over with a
    warning, and a note in its folder, so that it takes no place among those that are kept. Raises IntegrityError when
    there are commits and all are broken: starting anew is for a person to say.
    """
    names = ranks.gather(" ".join(committed_names(run)).encode() if ranks.rank == 0 else b"")[0].decode().split()
    broken: dict[str, str] = {}
    for name in names:
        commit, fault = _whole(run, name, ranks)
        found = [message.decode() for message in ranks.gather(fault.encode()) if message]
        if not found:
            if ranks.rank == 0:
                _note(run, broken, chosen=name)
            return Found(commit, tuple(broken.values()))
        broken[name] = f"checkpoint {name} cannot be used: {found[0]}"
    if broken:
        raise IntegrityError(
            f"none of the {len(broken)} checkpoints in {run.checkpoints} is whole: " + "; ".join(broken.values()),
            hint="restore the folder from a backup, or start anew with --fresh",
        )
    return Found(None)


def _note(run: RunFolder, broken: Mapping[str, str], *, chosen: str) -> None:
    """Note what was passed over; a note on the chosen one is of before it was mended."""
    with contextlib.suppress(StorageError, OSError):  # only retention asks for it: not worth the restore
        for name, why in broken.items():
            replace(run.checkpoints / name / PASSED_OVER, f"{why}\n".encode())
        (run.checkpoints / chosen / PASSED_OVER).unlink(missing_ok=True)


def _whole(run: RunFolder, name: str, ranks: Ranks) -> tuple[Commit | None, str]:
    """A commit and why it cannot be used, as far as this rank sees."""
    try:
        commit = open_commit(run, name)
        verify(commit, ranks=ranks)
    except ModelyardError as error:
        return None, str(error) or type(error).__name__
    return commit, ""


def best(commits: Iterable[Commit], metric: str, mode: str = "min") -> Commit | None:
    """The commit with the lowest (or, by mode "max", highest) finite value of a metric; of equals the earlier."""
    measured = [commit for commit in commits if math.isfinite(commit.record.metrics.get(metric, math.nan))]
    sign = -1.0 if mode == "max" else 1.0
    return min(measured, key=lambda commit: (sign * commit.record.metrics[metric], commit.step), default=None)
