"""How a model version is named: `registry://name@alias-or-version`, `name@…`, or `name` (its highest version)."""

from __future__ import annotations

from typing import NamedTuple

from modelyard.errors import InvalidInputError
from modelyard.yard import checked_name

SCHEME = "registry://"


class Reference(NamedTuple):
    """A name and what picks one of its versions: a number, an alias, or nothing (the highest)."""

    name: str
    version: int | None
    alias: str | None


def parse_reference(text: str) -> Reference:
    """Read a reference; raises InvalidInputError that says the form."""
    name, at, pick = text.removeprefix(SCHEME).partition("@")
    checked_name(name, "model")
    if not at:
        return Reference(name, None, None)
    if pick.isascii() and pick.isdigit():
        return Reference(name, int(pick), None)
    return Reference(name, None, checked_alias(pick))


def checked_alias(alias: str) -> str:
    """An alias's name: a label that is not all digits, so that it is never taken for a version."""
    checked_name(alias, "alias")
    if alias.isdigit():
        raise InvalidInputError(f"{alias!r} is no name for an alias: it reads as a version", hint="use a word")
    return alias
