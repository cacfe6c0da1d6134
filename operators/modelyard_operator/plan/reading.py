"""Values read out of objects that others write: whatever stands there, reading it never raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def dig(item: Any, *path: str) -> Any:
    """What stands at a path of keys; None when there is no such place."""
    for name in path:
        if not isinstance(item, Mapping):
            return None
        item = item.get(name)
    return item


def text(item: Any, *path: str) -> str:
    """The text at a path; empty when there is none."""
    found = dig(item, *path)
    return found if isinstance(found, str) else ""


def mapping(item: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at a path; empty when there is none."""
    found = dig(item, *path)
    return found if isinstance(found, Mapping) else {}


def listed(item: Any, *path: str) -> list[Mapping[str, Any]]:
    """The mappings of the list at a path; what is no mapping is passed over."""
    found = dig(item, *path)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list | tuple) else []


def whole(item: Any, *path: str) -> int:
    """The whole number at a path; 0 when there is none."""
    found = dig(item, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def moment(item: Any, *path: str) -> datetime | None:
    """The RFC 3339 time at a path, in UTC; None when there is none."""
    try:
        found = datetime.fromisoformat(text(item, *path))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def rfc3339(time: datetime) -> str:
    """`2026-11-22T17:25:09Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clipped(words: str, most_bytes: int) -> str:
    """The words, cut to so many bytes of UTF-8; characters that no text may hold are replaced."""
    data = words.encode(errors="replace")
    return words.encode(errors="replace").decode() if len(data) <= most_bytes else _cut(data, most_bytes)


def _cut(data: bytes, most_bytes: int) -> str:
    return data[: most_bytes - 3].decode(errors="ignore") + "…"


def plain(value: Any) -> Any:
    """JSON that a server takes: numbers that are not finite and nulls are left out, texts are whole UTF-8."""
    if isinstance(value, Mapping):
        kept = {clipped(str(name), 256): plain(entry) for name, entry in value.items()}
        return {name: entry for name, entry in kept.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [entry for entry in map(plain, value) if entry is not None]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return clipped(value, 65536) if isinstance(value, str) else value
