"""`modelyard logs`."""

from __future__ import annotations


def logs() -> None:
    """(being written)"""
