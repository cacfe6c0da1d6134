"""The workers that save and restore together, as this room sees them: who am I, and one exchange of messages.

The exchange is a barrier. zero.py makes one over the training's process group; ALONE is a group of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Ranks(Protocol):
    """A group of workers; every one calls `gather` as often as every other."""

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int: ...

    def gather(self, message: bytes) -> list[bytes]:
        """Every rank's message, in the order of ranks."""
        ...


@dataclass(frozen=True)
class Alone:
    """A group of one."""

    rank: int = 0
    world: int = 1

    def gather(self, message: bytes) -> list[bytes]:
        """One's own message."""
        return [message]


ALONE = Alone()
