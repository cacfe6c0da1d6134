"""Where a verb works: the storage root (the current folder) and the yard in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.yard import Yard


def storage_root() -> Path:
    """Relative paths of manifests start here."""
    return Path.cwd()


def the_yard(given: str | None, *, create: bool = False) -> Yard:
    """The yard named by `--yard` or MODELYARD_YARD, else `yard/` below the storage root."""
    from modelyard.yard import open_yard

    return open_yard(Path(given) if given else storage_root() / "yard", create=create)
