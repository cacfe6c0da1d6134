"""`modelyard status`."""

from __future__ import annotations


def status() -> None:
    """(being written)"""
