"""How a model version is named: `registry://name@alias-or-version`, `name@…`, or `name` (its highest version)."""

from __future__ import annotations

import os
from pathlib import Path
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


def names_folder(reference: str, *, root: Path) -> bool:
    """Whether a model's reference is a path from `root`: it has a slash, or a model lies there.

    A bare word is a name of the registry, unless a model's folder is called so: a folder of text often has its name.
    """
    return not reference.startswith(SCHEME) and (os.sep in reference or (root / reference / "config.json").is_file())


def checked_alias(alias: str) -> str:
    """An alias's name: a label that is not all digits, so that it is never taken for a version."""
    checked_name(alias, "alias")
    if alias.isdigit():
        raise InvalidInputError(f"{alias!r} is no name for an alias: it reads as a version", hint="use a word")
    return alias
