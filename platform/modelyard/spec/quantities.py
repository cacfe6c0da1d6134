"""Kubernetes quantities as numbers."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {"m": "1e-3", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15", "E": "1e18"}
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}


def quantity(text: str) -> Decimal:
    """The number that a Kubernetes quantity stands for."""
    match = re.fullmatch(r"([0-9.]+)(?:([eE][0-9]+)|([A-Za-z]+))?", text)
    assert match, f"{text} is no quantity"  # the pattern of the field has seen to it
    number, exponent, suffix = match.groups()
    if suffix in _BINARY:
        return Decimal(number) * _BINARY[suffix]
    return Decimal(number + (exponent or "")) * Decimal(_SUFFIXES.get(suffix or "", "1"))
