"""Joining a Ray that is not there, or that is reached the wrong way, is said in words and at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import InvalidInputError, WorkerLostError
from modelyard.spec import WorkersSpec
from modelyard.train.on_ray import start_ray


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("127.0.0.1:9", WorkerLostError, r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:9"),
        ("[::1]:9", WorkerLostError, "no Ray cluster answers"),
        ("ray://head:10001", InvalidInputError, "not behind Ray's client port"),
    ],
)
def test_what_cannot_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, error: type[Exception], words: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(error, match=words):
        start_ray(WorkersSpec(count=1), log_dir=tmp_path / "logs")
