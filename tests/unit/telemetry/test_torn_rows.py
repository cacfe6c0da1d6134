"""Appended files tolerate what a kill tears."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import StorageError
from modelyard.telemetry import RowWriter, read_rows


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    assert list(read_rows(path)) == []
    for number in range(3):
        RowWriter(path).write({"number": number, "text": "zwölf\nlines"})
    assert list(read_rows(path)) == [{"number": number, "text": "zwölf\nlines"} for number in range(3)]


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_line_torn_anywhere_is_left_out_and_harms_no_later_one(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.jsonl"
    RowWriter(path).write({"row": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"row": "zw\xc3\xb6lf"}\n'[:cut])
    assert list(read_rows(path)) == [{"row": 1}]
    RowWriter(path).write({"row": 3})
    assert list(read_rows(path)) == [{"row": 1}, {"row": 3}]


def test_a_symbolic_link_is_not_appended_to(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("")
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="a symbolic link stands there"):
        RowWriter(tmp_path / "rows.jsonl").write({"row": 1})
    assert (tmp_path / "outside").read_text() == ""


def test_lines_that_are_no_objects_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'1\n[]\n\n\xff\xfe\n{"row": 1}\n')
    assert list(read_rows(path)) == [{"row": 1}]
