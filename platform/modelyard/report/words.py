"""Numbers, sizes, spans and digests as a reader wants them. Pure; used by the page's template and charts."""

from __future__ import annotations

import math
from datetime import datetime


def number(value: float) -> str:
    """A number short enough for an axis: 0, 0.004, 2.27, 480, 4.5 k, 3.3 M; `1e-05` rather than zeros to count."""
    size = abs(value)
    if not math.isfinite(value):
        return str(value)
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= power:
            return f"{value / (1e3 if letter == 'k' else power):.3g} {letter}"
    if 0 < size < 0.0005:
        return f"{value:.2g}"
    return _plain(value)


def figure(value: float, digits: int = 4) -> str:
    """A measured number with `digits` significant digits and no exponent where one can do without."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.2e}" if places > 8 else f"{value:,.{places}f}".replace(",", "\u202f")


def count(value: int) -> str:
    """A whole number with thin spaces between thousands: 529 142."""
    return f"{value:,}".replace(",", "\u202f")


def size(value: int) -> str:
    """Bytes in decimal units: 1.93 MB."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{value} B" if unit == "B" else f"{amount:.3g} {unit}"


def duration(seconds: float) -> str:
    """A span: 0.4 s, 38 s, 3 min 41 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def moment(time: str) -> str:
    """An RFC 3339 time as `2026-11-22 17:25:09 UTC`; what is no such time is returned as it is."""
    try:
        return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return time


def between(start: str, end: str) -> float | None:
    """Seconds from one RFC 3339 time to another; None when one of them is no time."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return None


def short(digest: str) -> str:
    """The part of a digest that folder names carry: 16 digits."""
    return digest.removeprefix("sha256:")[:16]


def _plain(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
