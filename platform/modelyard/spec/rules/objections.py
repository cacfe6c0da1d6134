"""What a rule says: a place, what is wrong there, and the fix. Rules are generators over a spec; they never raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from modelyard.spec.documents import Location


class Objection(NamedTuple):
    """One fault between fields. `key` points at the field's name instead of its value."""

    location: Location
    message: str
    fix: str = ""
    key: bool = False


Rule = Callable[[Any], Iterable[Objection]]


def hear(rules: Iterable[Rule], subject: Any, *, partial: bool) -> Iterator[Objection]:
    """What the rules say; of a partly readable manifest, what can be said without the unreadable fields."""
    for rule in rules:
        try:
            yield from rule(subject)
        except AttributeError:
            if not partial:
                raise


def repeated(names: Iterable[str], base: Location, *, field: str | None = "name") -> Iterator[Objection]:
    """An objection for each name that stands in a list for the second time."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            place = (*base, index, field) if field else (*base, index)
            yield Objection(place, f'is "{name}", which another one has already', "give each its own name")
        seen.add(name)


def exactly_one(values: dict[str, Any], base: Location, *, needed: bool = True, why: str = "") -> Iterator[Objection]:
    """Objections unless exactly one (at most one when not `needed`) of these sibling fields is set."""
    present = [name for name, value in values.items() if value is not None]
    names = ", ".join(values)
    if needed and not present:
        yield Objection(base, f"has none of {names}", f"set exactly one of them{why}")
    for extra in present[1:]:
        yield Objection((*base, extra), f"is set beside {present[0]}", f"keep one of {names}", key=True)
