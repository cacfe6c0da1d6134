"""Reading records: what is missing, damaged, newer or absurdly large is told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import IntegrityError, NewerLayoutError, NotFoundError
from modelyard.records import AliasRecord
from modelyard.yard import publish, read_record, reading

RECORD = AliasRecord(name="quickstart", alias="stable", version=1, revision=1)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    publish(tmp_path / "record.json", RECORD.to_json())
    assert read_record(tmp_path / "record.json", AliasRecord) == RECORD


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, NotFoundError),
        (b"", IntegrityError),
        (b"\xff\xfe", IntegrityError),
        (b"[]", IntegrityError),
        (b'{"schema": 1}', IntegrityError),
        (RECORD.to_json().replace(b'"schema": 1', b'"schema": 2'), NewerLayoutError),
        (RECORD.to_json().replace(b'"version": 1', b'"version": "one"'), IntegrityError),
        (RECORD.to_json().replace(b'"revision"', b'"revisoin"'), IntegrityError),
        (RECORD.to_json()[:-20], IntegrityError),
    ],
)
def test_what_is_no_such_record_is_told_by_name(tmp_path: Path, content: bytes | None, error: type[Exception]) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=r"record\.json"):
        read_record(path, AliasRecord)


def test_an_absurdly_large_record_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_RECORD_BYTES", 10)
    (tmp_path / "record.json").write_bytes(RECORD.to_json())
    with pytest.raises(IntegrityError, match="no record is that large"):
        read_record(tmp_path / "record.json", AliasRecord)
