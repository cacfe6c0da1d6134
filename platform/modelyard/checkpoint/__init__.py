"""Checkpoints as fragments: saved at one worker count and ZeRO stage, restored at any other.

`save`, `restore` and `latest` are called by the training loop on every rank, `committed` and `assemble` by anyone
later. Only zero.py knows DeepSpeed; commits and retention know no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelyard.checkpoint.commits import Commit, Found, best, committed, committed_names, latest, open_commit, verify
from modelyard.checkpoint.ranks import ALONE, Alone, Ranks
from modelyard.checkpoint.retention import Keep, prune

if TYPE_CHECKING:
    from modelyard.checkpoint.transfer import CommitFacts, TrainingState, assemble, restore, save, state_digest

_NEED_TORCH = ("CommitFacts", "TrainingState", "assemble", "restore", "save", "state_digest")

__all__ = [
    "ALONE",
    "Alone",
    "Commit",
    "CommitFacts",
    "Found",
    "Keep",
    "Ranks",
    "TrainingState",
    "assemble",
    "best",
    "committed",
    "committed_names",
    "latest",
    "open_commit",
    "prune",
    "restore",
    "save",
    "state_digest",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for (the driver lists commits without torch)."""
    if name in _NEED_TORCH:
        from modelyard.checkpoint import transfer

        return getattr(transfer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
