"""Kubernetes quantities as exact numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from modelyard.spec.quantities import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", Decimal(2)), ("500m", Decimal("0.5")), ("1.5", Decimal("1.5")), ("2Gi", Decimal(2**31)),
        ("1500M", Decimal(1_500_000_000)), ("1e3", Decimal(1000)), ("1E3", Decimal(1000)), ("2E", Decimal(2 * 10**18)),
        ("1Ei", Decimal(2**60)),
    ],
)  # fmt: skip
def test_a_quantity_is_its_exact_number(text: str, number: Decimal) -> None:
    assert quantity(text) == number
