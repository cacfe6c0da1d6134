"""`modelyard run`."""

from __future__ import annotations


def run() -> None:
    """(being written)"""
