"""What a source's path means, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.data.sources import find_files
from modelyard.errors import BadDataError, InvalidInputError, ModelyardError
from modelyard.spec.datasets import SourceSpec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "storage[1]"  # a root is no pattern
    for name in ("a.jsonl", "b.txt", "sub/c.jsonl.gz", "sub/deep/d.ndjson.zst", "sub/e.md", "sub/f.bin", ".hidden.txt"):
        path = root / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (root / "texts" / "odd[2].txt").write_bytes(b"x")
    return root


def found(root: Path, path: str, form: str | None = None) -> list[str]:
    return [file.name for file in find_files(SourceSpec(name="s", path=path, format=form), root=root)]


@pytest.mark.parametrize(
    ("path", "form", "names"),
    [
        ("texts/a.jsonl", None, ["a.jsonl"]),
        ("texts/f*.bin", "text", []),
        ("texts/sub/f.bin", "text", ["sub/f.bin"]),
        ("texts/odd[2].txt", None, ["odd[2].txt"]),
        ("texts/*", None, ["a.jsonl", "b.txt", "odd[2].txt"]),
        ("texts/**/*.jsonl*", None, ["a.jsonl", "sub/c.jsonl.gz"]),
        ("texts", "jsonl", ["a.jsonl", "sub/c.jsonl.gz", "sub/deep/d.ndjson.zst"]),
        ("texts", "text", ["b.txt", "odd[2].txt", "sub/e.md"]),
        ("texts/sub", None, ["sub/c.jsonl.gz", "sub/deep/d.ndjson.zst", "sub/e.md"]),
    ],
)
def test_paths(root: Path, path: str, form: str | None, names: list[str]) -> None:
    if names:
        assert sorted(found(root, path, form)) == [f"texts/{name}" for name in names]
    else:
        with pytest.raises(BadDataError, match="matches no file"):
            found(root, path, form)


@pytest.mark.parametrize("path", ["texts/**/**/*.md", "**/**/e.md"])
def test_a_file_that_a_glob_matches_in_several_ways_is_read_once(root: Path, path: str) -> None:
    names = found(root, path, "text")
    assert "texts/sub/e.md" in names
    assert len(names) == len(set(names))


def test_formats_and_compressions_are_told_by_the_name(root: Path) -> None:
    files = find_files(SourceSpec(name="s", path="texts"), root=root)
    told = {file.path.name: (file.format, file.compression) for file in files}
    assert told["d.ndjson.zst"] == ("jsonl", "zstd")
    assert told["c.jsonl.gz"] == ("jsonl", "gzip")
    assert told["e.md"] == ("text", "")


def test_an_absolute_path_is_named_as_it_is_unless_below_the_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_bytes(b"x")
    assert found(root, str(tmp_path / "other.txt")) == [str(tmp_path / "other.txt")]
    assert found(root, str(root / "texts" / "b.txt")) == ["texts/b.txt"]


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("texts/missing.jsonl", BadDataError, "does not exist"),
        ("nowhere/*.jsonl", BadDataError, "matches no file"),
        ("empty", BadDataError, "no file that ends in"),
        ("../storage[1]/texts/a.jsonl", InvalidInputError, "leaves the storage root"),
        ("texts/sub/f.bin", InvalidInputError, "format"),
        ("texts/pipe.txt", InvalidInputError, "not a regular file"),
        ("texts/dangling*", BadDataError, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(root: Path, path: str, error: type[ModelyardError], words: str) -> None:
    (root / "empty").mkdir()
    os.mkfifo(root / "texts" / "pipe.txt")
    (root / "texts" / "dangling.txt").symlink_to(root / "texts" / "gone")
    with pytest.raises(error, match=words):
        found(root, path)


def test_a_link_out_of_a_folder_or_glob_is_refused_and_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    (root / "texts" / "link.txt").symlink_to(tmp_path / "secret.txt")
    for path in ("texts", "texts/*.txt"):
        with pytest.raises(InvalidInputError, match=r"link\.txt is a link that leads to"):
            found(root, path)
    assert found(root, "texts/link.txt") == ["texts/link.txt"]  # named itself, it is meant


def test_a_folder_that_is_itself_a_link_is_meant(root: Path, tmp_path: Path) -> None:
    (root / "texts").rename(tmp_path / "elsewhere")
    (root / "here").symlink_to(tmp_path / "elsewhere")
    for path in ("here/sub/*.md", "here/sub", "here/sub/e.md"):
        assert found(root, path, "text") == ["here/sub/e.md"]
    with pytest.raises(InvalidInputError, match="is a link that leads to"):
        found(root, "h*/sub/e.md")  # not named, found


@pytest.mark.parametrize("name", [b"b\xffd.txt", b"new\nline.txt", b"\x1b[31m.txt"])
def test_a_name_that_no_record_can_hold_is_refused(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="cannot be written down"):
        found(tmp_path, "*.txt")


def test_any_other_name_will_do(tmp_path: Path) -> None:
    (tmp_path / "\u3000日本 é'\".txt").write_bytes(b"x")
    assert found(tmp_path, "*.txt") == ["\u3000日本 é'\".txt"]
