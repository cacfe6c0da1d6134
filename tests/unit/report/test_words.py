from __future__ import annotations

import pytest

from modelyard.report.words import between, count, duration, figure, moment, number, short, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.004, "0.004"),
        (2.2682, "2.268"),
        (480, "480"),
        (4298, "4298"),
        (45_600, "45.6 k"),
        (3_343_296, "3.34 M"),
        (7.2e9, "7.2 G"),
        (1e-5, "1e-05"),
        (-0.5, "-0.5"),
        (float("nan"), "nan"),
    ],
)
def test_number(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.26824, "2.268"),
        (306.44, "306.4"),
        (0.2604, "0.2604"),
        (0, "0"),
        (12345.6, "12\u202f346"),
        (3e-12, "3.00e-12"),
    ],
)
def test_figure(value: float, expected: str) -> None:
    assert figure(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.41, "0.4 s"), (38.2, "38 s"), (221, "3 min 41 s"), (7500, "2 h 05 min"), (59.7, "1 min 00 s")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_sizes_counts_times_and_digests() -> None:
    assert (size(512), size(1_930_112), size(3_000_000_000_000_000)) == ("512 B", "1.93 MB", "3e+03 TB")
    assert count(529_142) == "529\u202f142"
    assert moment("2026-11-22T17:25:09Z") == "2026-11-22 17:25:09 UTC"
    assert moment("yesterday") == "yesterday"
    assert between("2026-11-22T17:25:09Z", "2026-11-22T17:26:09Z") == 60
    assert between("yesterday", "today") is None
    assert short("sha256:" + "ab" * 32) == "ab" * 8
