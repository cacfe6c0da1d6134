"""What a plain (unquoted) YAML scalar means, and which ones are refused because readers disagree on them.

Modelyard reads as kubectl does (go-yaml, YAML 1.1 with JSON's numbers), ruamel.yaml and PyYAML read otherwise:
where two of them differ, a person must say which is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# kubectl and PyYAML read the first group as true or false, YAML 1.2 readers as text.
OLD_BOOLEANS = frozenset(
    word for low in ("yes", "no", "on", "off", "y", "n") for word in (low, low.title(), low.upper())
)
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
NULLS = frozenset(["", "~", "null", "Null", "NULL"])
# Python refuses longer ones by default; no field is that large.
LONGEST_NUMBER = 400

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_OTHER_BASE = re.compile(r"[-+]?0[xob][0-9a-fA-F_]+")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?")
_NON_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")


@dataclass(frozen=True)
class Ambiguous:
    """A scalar that is refused: why, and how to write what was meant."""

    why: str
    fix: str


Scalar = str | int | float | bool | None | Ambiguous


def read_plain(text: str) -> Scalar:
    """The value of a plain scalar, or why it is refused."""
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if text in OLD_BOOLEANS:
        return Ambiguous(
            "is true or false to some YAML readers and text to others", f'write true or false, or "{text}"'
        )
    if text[0] not in "+-.0123456789":
        return text
    return _read_number(text)


def _read_number(text: str) -> Scalar:
    if len(text) > LONGEST_NUMBER and (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)):
        return Ambiguous("is a number of too many digits", "write a smaller one")
    if _INTEGER.fullmatch(text):
        return int(text)
    if _LEADING_ZERO.fullmatch(text):
        bare = text.lstrip("+-").lstrip("0") or "0"
        return Ambiguous("is octal to some YAML readers and decimal to others", f'write {bare}, or "{text}" for text')
    if _FLOAT.fullmatch(text):
        return float(text)
    return _refuse_or_text(text)


def _refuse_or_text(text: str) -> Scalar:
    if _OTHER_BASE.fullmatch(text):
        return Ambiguous("is a number only to some YAML readers", f'write it in decimal, or "{text}" for text')
    if _UNDERSCORED.fullmatch(text):
        bare = text.replace("_", "")
        return Ambiguous("is a number only to some YAML readers", f'write {bare}, or "{text}" for text')
    if _SEXAGESIMAL.fullmatch(text):
        return Ambiguous("is a number in base 60 to some YAML readers", f'write "{text}" for text')
    if _NON_FINITE.fullmatch(text):
        return Ambiguous("is not a finite number", "write a finite number")
    if _DATE.fullmatch(text):
        return Ambiguous("is a date to some YAML readers and text to others", f'write "{text}"')
    return text
