"""Paths and references: what the text of one may be. Whether the thing exists is the workflow's to say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelyard.spec.documents import Location
from modelyard.spec.parts import NAME
from modelyard.spec.rules.objections import Objection

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOW = "registry://name@alias-or-version or a folder"


def check_path(path: str, place: Location) -> Iterator[Objection]:
    """A path of local files: below the storage root when relative, no URL, no shell words."""
    scheme = _SCHEME.match(path)
    if scheme:
        yield Objection(
            place, f"is a {scheme[1]}:// address; only files are read yet", "copy the data and name its path"
        )
    elif path.startswith("~"):
        yield Objection(place, "begins with ~, which is not expanded", "write the whole path")
    elif ".." in path.split("/"):
        yield Objection(place, "goes up with ..", "start at the storage root (locally the current folder)")
    elif _CONTROL.search(path) or path != path.strip():
        yield Objection(place, "holds control characters or blanks at its ends", "write the path alone")


def check_reference(text: str, place: Location) -> Iterator[Objection]:
    """A model or tokenizer: a version of the registry or a folder; hf:// is not built yet."""
    if text.startswith("registry://"):
        yield from _check_version(text.removeprefix("registry://"), place)
    elif text.startswith("hf://"):
        yield Objection(place, "hf:// is not built yet", "download the folder and name its path")
    else:
        yield from check_path(text, place)


def _check_version(text: str, place: Location) -> Iterator[Objection]:
    name, at, version = text.partition("@")
    if not NAME.fullmatch(name):
        yield Objection(place, "names no model of the registry", f"write {_HOW}")
    elif at and not NAME.fullmatch(version):
        yield Objection(
            place, "has no alias or version after @", f"write registry://{name}@candidate or registry://{name}@1"
        )
