"""Records become documents or bad records with file, line and reason; nothing is lost in silence."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from modelyard.data import REASONS, BadRecord, Document, read_documents
from modelyard.data.documents import _lines
from modelyard.errors import BadDataError
from modelyard.spec.datasets import ColumnsSpec, SourceSpec

COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def read(path: Path, *, limit: int = 1 << 20, columns: ColumnsSpec | None = None) -> list[Document | BadRecord]:
    source = SourceSpec(name="s", path=path.name, columns=columns or ColumnsSpec())
    return list(read_documents(source, root=path.parent, max_record_bytes=limit))


def shown(items: list[Document | BadRecord]) -> list[tuple[int, str]]:
    return [(item.line, item.text if isinstance(item, Document) else f"!{item.reason}") for item in items]


LINES = [
    (b'{"text": "a"}', "a"),
    (b'  {"text": "\\u00e9\\n", "id": 3}\r', "é\n"),
    (b'{"text": "a\\u0000b"}', "a\0b"),
    (b'{"text": "first", "text": "second"}', "second"),
    (b'{"text": "\xff"}', "!invalid_utf8"),
    (b'{"text": "cut', "!broken_json"),
    (b'{"text": "a"} trailing', "!broken_json"),
    (b'{"text": "a\tb"}', "!broken_json"),
    (b"\0\0\0", "!broken_json"),
    (b"[" * 100_000, "!broken_json"),
    (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "!broken_json"),
    (b'["text"]', "!not_an_object"),
    (b'"text"', "!not_an_object"),
    (b"null", "!not_an_object"),
    (b'{"texts": "a"}', "!missing_text"),
    (b'{"text": null}', "!not_text"),
    (b'{"text": 17}', "!not_text"),
    (b'{"text": ["a"]}', "!not_text"),
    (b'{"text": "\\ud83d"}', "!lone_surrogate"),
    (b'{"text": "\\ud83d\\ude00"}', "😀"),
    (b'{"text": ""}', "!empty_text"),
    (b'{"text": " \\n\\t"}', "!empty_text"),
    (b'{"text": "' + b"x" * (1 << 20) + b'"}', "!too_long"),
]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_every_line_is_a_document_or_a_bad_record(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](b"\n".join(line for line, _ in LINES)))
    assert shown(read(path)) == [(number, text) for number, (_, text) in enumerate(LINES, start=1)]


def test_every_reason_of_a_line_is_in_the_table() -> None:
    in_lines = {text[1:] for _, text in LINES if text.startswith("!")}
    assert in_lines | {"nul_byte", "empty_file", "no_tokens"} == set(REASONS)


def test_blank_lines_are_no_records_but_count_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n \r\n{"text": "a"}\n\n{"text": "b"}\n\n')
    assert shown(read(path)) == [(3, "a"), (5, "b")]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", b'\xef\xbb\xbf{"text": "a"}\n'), ("a.txt", b"\xef\xbb\xbfa")):
        (tmp_path / name).write_bytes(content)
        assert shown(read(tmp_path / name)) == [(1, "a")]


def test_the_text_column_may_have_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "a", "text": "b"}\n')
    assert shown(read(tmp_path / "a.jsonl", columns=ColumnsSpec(text="body"))) == [(1, "a")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\r\ntwo\n", [(1, "one\r\ntwo\n")]),
        (b"one\n\xfftwo", [(2, "!invalid_utf8")]),
        ("UTF-16".encode("utf-16"), [(1, "!nul_byte")]),
        (b"a\nb\nc\0", [(3, "!nul_byte")]),
        (b"", [(1, "!empty_file")]),
        (b" \n\n", [(1, "!empty_text")]),
        (b"x" * 101, [(1, "!too_long")]),
        (b"x" * 100, [(1, "x" * 100)]),
    ],
)
def test_a_text_file_is_one_document(tmp_path: Path, content: bytes, expected: list[tuple[int, str]]) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert shown(read(tmp_path / "a.txt", limit=100)) == expected


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_a_file_without_records_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert shown(read(tmp_path / "a.jsonl")) == [(1, "!empty_file")]


def test_an_excerpt_is_short_and_from_the_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "' + "a" * 500 + '" FAULT' + "b" * 500)
    (bad,) = read(tmp_path / "a.jsonl")
    assert isinstance(bad, BadRecord)
    assert "FAULT" in bad.excerpt
    assert len(bad.excerpt) <= 60


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_members_and_frames_may_follow_each_other(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](b'{"text": "a"}\n{"text"') + COMPRESS[suffix](b': "b"}\n'))
    assert shown(read(path)) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "cut early", "flipped", "garbage after", "not one"])
def test_a_damaged_archive_is_an_error_that_names_it(tmp_path: Path, suffix: str, damage: str) -> None:
    texts = "".join(json.dumps({"text": f"{number} {number**7}"}) + "\n" for number in range(5000))
    compress = COMPRESS[suffix] if suffix == ".gz" else zstandard.ZstdCompressor(write_checksum=True).compress
    whole = compress(texts.encode())
    middle = len(whole) // 2
    content = {
        "cut": whole[:-3],
        "cut early": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 0x40]) + whole[middle + 1 :],
        "garbage after": whole + b"garbage",
        "not one": b"plain text",
    }[damage]
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match=rf"a\.jsonl\{suffix} is (truncated|no sound)"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_an_empty_archive_holds_no_record(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(b"")
    assert shown(read(path)) == [(1, "!empty_file")]
    path.write_bytes(COMPRESS[suffix](b""))
    assert shown(read(path)) == [(1, "!empty_file")]


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    st.integers(1, 9),
    st.integers(0, 14),
)
def test_lines_do_not_depend_on_how_they_were_read(lines: list[bytes], step: int, limit: int) -> None:
    content = b"\n".join(lines)
    chunks = [content[at : at + step] for at in range(0, len(content), step)]
    expected = [(number, line if len(line) <= limit else None) for number, line in enumerate(lines, start=1)]
    while expected and not lines[len(expected) - 1]:
        expected.pop()  # nothing follows the last line end
    got = [(line.number, line.data) for line in _lines(chunks, limit)]
    assert [pair for pair in got if pair[1] != b""] == [pair for pair in expected if pair[1] != b""]


def test_a_line_of_many_pieces_takes_time_in_proportion_to_its_length() -> None:
    pieces = [b"x"] * 100_000
    before = time.process_time()
    (line,) = _lines(pieces, 1 << 20)
    assert line.data == b"x" * len(pieces)
    assert time.process_time() - before < 2  # a copy for each piece would take ten
