"""`modelyard runs`."""

from __future__ import annotations


def runs() -> None:
    """(being written)"""
