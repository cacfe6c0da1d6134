"""Which checkpoints are removed, decided purely, and their removal, safe at every moment.

Called by rank 0 after a commit. Nothing of a later attempt is ever touched, nor the newest commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.checkpoint.commits import MARKER, Commit, FolderName, best, committed, folders
from modelyard.errors import UsageError
from modelyard.yard import RunFolder, check_attempt, faults, fsync_folder
from modelyard.yard.publishing import storage_errors


@dataclass(frozen=True)
class Keep:
    """Keep the newest `last` commits, and the best one by `metric` (mode "min" or "max") when one is named."""

    last: int = 2
    metric: str | None = None
    mode: str = "min"

    def __post_init__(self) -> None:
        if self.last < 1:
            raise UsageError(f"keep.last is {self.last}: the newest commit is always kept", hint="set it to 1 or more")
        if self.mode not in ("min", "max"):
            raise UsageError(f"keep.best.mode is {self.mode!r}", hint="min or max")


def removable(
    present: Sequence[FolderName], commits: Sequence[Commit], keep: Keep, *, attempt: int
) -> list[FolderName]:
    """The folders to remove, oldest first: pure.

    Of the commits that count, those that `keep` does not name. Of all else (left half written, passed over as broken,
    or committed by an attempt that was fenced off) what this attempt or an earlier one made, as this one is not saving
    now. Without a commit nothing is removed, so that a person can look.
    """
    if not commits:
        return []
    newest_first = sorted(commits, key=lambda commit: (commit.attempt, commit.step), reverse=True)
    kept = {commit.name for commit in newest_first[: keep.last]}
    if keep.metric is not None:
        chosen = best(newest_first, keep.metric, keep.mode)
        kept |= {chosen.name} if chosen else set()
    return sorted(name for name in present if str(name) not in kept and name.attempt <= attempt)


def prune(run: RunFolder, keep: Keep, *, attempt: int) -> tuple[str, ...]:
    """Remove what `keep` does not name and what older attempts left behind; returns the folders' names.

    Raises FencedError, having removed nothing, when a later attempt has taken the run over.
    """
    whole = [commit for commit in committed(run) if not commit.passed_over]
    names = removable(folders(run), whole, keep, attempt=attempt)
    for name in names:
        check_attempt(run, attempt)
        remove(run.checkpoints / str(name))
    return tuple(map(str, names))


def remove(folder: Path) -> None:
    """Remove a checkpoint: its marker first, durably, so that what is half removed does not exist."""
    with storage_errors("remove", folder), contextlib.suppress(FileNotFoundError):
        if (folder / MARKER).exists():
            (folder / MARKER).unlink()
            fsync_folder(folder)
        faults.point("checkpoint.prune.unmarked")
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()
        faults.point("checkpoint.prune.removed")
