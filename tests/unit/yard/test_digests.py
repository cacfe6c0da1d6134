"""Digests of files and folders, and what a damaged folder is told as."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.errors import IntegrityError, NotFoundError, StorageError
from modelyard.yard import digest_bytes, digest_file, digest_files, digest_folder, verify_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "tokenizer").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (model / "tokenizer" / "tokenizer.json").write_text("[]")
    return model


def test_known_digests() -> None:
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_file_is_digested_as_its_bytes(folder: Path) -> None:
    path = folder / "model.safetensors"
    assert digest_file(path) == digest_bytes(path.read_bytes())
    with pytest.raises(StorageError):
        digest_file(folder / "none")


def test_a_folder_s_digest_is_of_paths_and_contents_alone(folder: Path) -> None:
    digest, files = digest_folder(folder)
    assert [file.path for file in files] == ["config.json", "model.safetensors", "tokenizer/tokenizer.json"]
    assert digest == digest_files(tuple(reversed(files)))
    os.utime(folder / "config.json", (1, 1))
    (folder / ".config.json.1-2.tmp").write_text("a killed writer's")
    assert digest_folder(folder) == (digest, files)
    (folder / "config.json").rename(folder / "other.json")
    assert digest_folder(folder)[0] != digest
    assert digest_folder(folder, leave_out=("other.json",))[1] == files[1:]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        digest_folder(tmp_path / "none")


def test_symbolic_links_are_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError, match="link is a symbolic link"):
        digest_folder(folder)


def _flip_a_bit(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[12345] ^= 1
    path.write_bytes(data)


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _link(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_flip_a_bit, r"model\.safetensors is damaged: its digest is sha256:"),
        (_cut, r"model\.safetensors has 25599 bytes, recorded are 25600"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is recorded but is missing"),
        (_link, r"model\.safetensors is recorded but is missing or not a plain file"),
        (lambda folder: (folder / "extra").write_text(""), r"extra is not among the files recorded"),
    ],
)
def test_verify_names_the_file_at_fault(folder: Path, damage: object, words: str) -> None:
    files = digest_folder(folder)[1]
    verify_folder(folder, files, exact=True)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(IntegrityError, match=words):
        verify_folder(folder, files, exact=True)


def test_other_files_are_allowed_unless_exact(folder: Path) -> None:
    files = digest_folder(folder)[1]
    (folder / "COMMITTED.json").write_text("{}")
    verify_folder(folder, files)
    verify_folder(folder, files, exact=True, leave_out=("COMMITTED.json",))
