"""Kubernetes quantities as numbers."""

from __future__ import annotations

from modelyard.errors import InvalidInputError

FACTORS = {
    "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


def cpus(quantity: str) -> float:
    """CPUs: `"500m"` is a half."""
    return _number(quantity)


def memory_bytes(quantity: str) -> int:
    """Bytes: `"2Gi"` is 2147483648."""
    return int(_number(quantity))


def _number(quantity: str) -> float:
    digits = quantity.rstrip("mkKMGTPi")
    try:
        return float(digits) * FACTORS[quantity[len(digits) :]]
    except (ValueError, KeyError):
        raise InvalidInputError(f"{quantity!r} is not a quantity", hint="write 500m, 2, 2Gi or the like") from None
