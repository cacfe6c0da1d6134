"""Versions, references, aliases, and what damage is told as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError, StorageError
from modelyard.records import FileDigest, MetricValue, VersionRecord
from modelyard.registry import Registry, open_registry, parse_reference, store
from modelyard.registry.copying import copy_folder
from modelyard.registry.index import FileIndex
from modelyard.registry.index_configmap import ConfigMapIndex
from modelyard.registry.references import Reference
from modelyard.yard import digest_folder, open_yard
from support.configmaps import MemoryConfigMaps

ZERO = "sha256:" + "0" * 64
BITS = MetricValue(suite="heldout", metric="bits_per_byte", value=2.27, low=2.2, high=2.3, items=10)


@pytest.fixture(params=["files", "configmap"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """A yard's own, and one of a cluster: what is promised here, both keep."""
    yard = open_yard(tmp_path / "yard")
    if request.param == "files":
        return open_registry(yard)
    maps = MemoryConfigMaps()
    maps.put("modelyard-model-quickstart")
    return Registry(yard, ConfigMapIndex(FileIndex(yard), maps))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    (folder / "nested").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 50)
    (folder / "nested" / "tokenizer.json").write_text("[]")
    return folder


def _register(registry: Registry, model: Path, run_id: str = "job-0123abcd", **others: Any) -> VersionRecord:
    return registry.register(
        "quickstart", model, run_id=run_id, spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="0.1.0", **others,
    )  # fmt: skip


def test_a_version_is_a_copy_with_its_digests(registry: Registry, model: Path) -> None:
    record = _register(registry, model, metrics=(BITS,), verdict="Passed", step=480, parameters=3_300_000)
    assert (record.name, record.version, record.step) == ("quickstart", 1, 480)
    assert (record.digest, record.files) == digest_folder(model)
    version = registry.resolve("quickstart")
    assert version.label == "quickstart@1"
    assert (version.folder / "nested" / "tokenizer.json").read_text() == "[]"
    registry.verify(version)


def test_rewriting_the_export_does_not_touch_the_version(registry: Registry, model: Path) -> None:
    record = _register(registry, model)
    with (model / "model.safetensors").open("r+b") as file:
        file.write(b"rewritten in place")
    registry.verify(record)
    copy = registry.resolve("quickstart").folder / "model.safetensors"
    assert copy.stat().st_nlink == 1
    assert not copy.stat().st_mode & 0o222


def test_the_same_registration_again_is_the_same_version(registry: Registry, model: Path) -> None:
    first = _register(registry, model)
    assert _register(registry, model) == first
    assert [record.version for record in registry.versions("quickstart")] == [1]


def test_a_folder_that_is_not_the_one_recorded_is_not_registered(registry: Registry, model: Path) -> None:
    digest, _ = digest_folder(model)
    (model / "config.json").write_text('{"rewritten": true}')
    with pytest.raises(IntegrityError, match="recorded was sha256:"):
        _register(registry, model, expected_digest=digest)
    assert registry.names() == []


def test_another_run_other_bytes_or_another_finding_is_another_version(registry: Registry, model: Path) -> None:
    _register(registry, model)
    assert _register(registry, model, run_id="job-99999999").version == 2
    assert _register(registry, model, verdict="Passed").version == 3
    (model / "config.json").write_text('{"a": 1}')
    assert _register(registry, model).version == 4
    assert _register(registry, model, run_id="job-99999999").version == 5


def test_a_half_copied_version_does_not_exist_and_its_number_is_not_given_away(registry: Registry, model: Path) -> None:
    _register(registry, model)
    (registry.yard.model_folder("quickstart", 1) / "version.json").unlink()
    (registry.yard.model_folder("quickstart", 1) / "config.json").unlink()
    (registry.yard.model_folder("quickstart", 1) / "nested" / ".tokenizer.json.1-2.tmp").write_text("half")
    assert registry.names() == []
    with pytest.raises(NotFoundError):
        registry.resolve("quickstart@1")
    assert _register(registry, model, run_id="job-99999999").version == 2
    assert _register(registry, model).version == 1
    for version in registry.versions("quickstart"):
        registry.verify(version)


@pytest.mark.parametrize("stands", [True, False])
def test_what_killed_registrations_left_is_swept(registry: Registry, model: Path, stands: bool) -> None:
    _register(registry, model)
    folder = registry.yard.model_folder("quickstart", 1)
    if not stands:
        (folder / "version.json").unlink()
    left = [folder / ".version.json.1-2.tmp", folder / "nested" / ".tokenizer.json.1-2.tmp"]
    for path in left:
        path.write_text("half")
    registry.verify(_register(registry, model))
    assert not any(path.exists() for path in left)


def test_who_is_swept_away_by_the_same_registration_finds_its_version(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(source: Path, target: Path, files: Sequence[FileDigest]) -> None:
        monkeypatch.undo()
        _register(registry, model)
        raise StorageError("what was being written is gone")

    monkeypatch.setattr(store, "copy_folder", overtaken)
    assert _register(registry, model) == registry.resolve("quickstart@1").record


def test_a_damaged_half_copy_is_made_anew(registry: Registry, model: Path) -> None:
    _register(registry, model)
    folder = registry.yard.model_folder("quickstart", 1)
    (folder / "version.json").unlink()
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("[]")
    registry.verify(_register(registry, model))


def test_a_folder_that_changes_while_it_is_copied_is_refused(tmp_path: Path, model: Path) -> None:
    files = digest_folder(model)[1]
    (model / "config.json").write_text("{ }")
    with pytest.raises(IntegrityError, match=r"config\.json changed while it was registered"):
        copy_folder(model, tmp_path / "copy", files)
    assert list((tmp_path / "copy").iterdir()) == []


def test_an_empty_or_missing_folder_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="nothing to register"):
        _register(registry, tmp_path / "empty")
    with pytest.raises(NotFoundError):
        _register(registry, tmp_path / "none")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "A", "a" * 64])
def test_no_model_name_is_a_path(registry: Registry, model: Path, name: str) -> None:
    with pytest.raises(InvalidInputError):
        registry.register(
            name, model, run_id="r", spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO, code_version="0"
        )
    with pytest.raises(InvalidInputError):
        registry.resolve(name)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("registry://quickstart@stable", Reference("quickstart", None, "stable")),
        ("registry://quickstart@3", Reference("quickstart", 3, None)),
        ("quickstart@3", Reference("quickstart", 3, None)),
        ("quickstart", Reference("quickstart", None, None)),
        ("quickstart@v3", Reference("quickstart", None, "v3")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize("text", ["", "@", "quickstart@", "quickstart@../1", "hf://org/name", "a@b@c", "quickstart@٣"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_reference(text)


def test_references_name_what_there_is(registry: Registry, model: Path) -> None:
    _register(registry, model)
    _register(registry, model, run_id="job-99999999")
    registry.set_alias("quickstart", "stable", 1, by="test")
    assert registry.resolve("registry://quickstart@stable").record.version == 1
    assert registry.resolve("quickstart").record.version == 2
    assert registry.resolve("quickstart@1").record.version == 1
    for reference, hint in (
        ("quickstart@9", "it has 1, 2"),
        ("quickstart@0", "it has 1, 2"),
        ("quickstart@candidate", "its aliases: stable"),
        ("quikstart", "did you mean quickstart?"),
        ("zzz", "`modelyard models` lists them"),
    ):
        with pytest.raises(NotFoundError) as caught:
            registry.resolve(reference)
        assert caught.value.hint == hint


def test_a_flipped_bit_is_named(registry: Registry, model: Path) -> None:
    record = _register(registry, model)
    path = registry.resolve("quickstart").folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[777] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"quickstart/1/model\.safetensors is damaged"):
        registry.verify(record)


def test_added_files_and_edited_records_are_named(registry: Registry, model: Path) -> None:
    record = _register(registry, model)
    folder = registry.resolve("quickstart").folder
    (folder / "pickle.bin").write_text("x")
    with pytest.raises(IntegrityError, match=r"pickle\.bin is not among the files recorded"):
        registry.verify(record)
    (folder / "pickle.bin").unlink()
    edited = record.model_copy(update={"files": record.files[1:]})
    with pytest.raises(IntegrityError, match=r"version\.json is damaged"):
        registry.verify(edited)


def test_a_version_folder_that_was_moved_is_refused(registry: Registry, model: Path) -> None:
    _register(registry, model)
    folder = registry.yard.model_folder("quickstart", 1)
    folder.rename(folder.with_name("7"))
    with pytest.raises(IntegrityError, match="describes quickstart@1"):
        registry.resolve("quickstart@7")


def test_a_damaged_record_hinders_no_other_version(registry: Registry, model: Path) -> None:
    first = _register(registry, model)
    _register(registry, model, run_id="job-99999999")
    damaged = registry.yard.model_folder("quickstart", 2) / "version.json"
    damaged.chmod(0o644)
    damaged.write_text('{"torn')
    assert registry.resolve("quickstart@1").record == first
    assert registry.set_alias("quickstart", "production", 1, by="test").version == 1
    assert _register(registry, model, run_id="job-77777777").version == 3
    with pytest.raises(IntegrityError, match=r"quickstart/2/version\.json is damaged"):
        registry.set_alias("quickstart", "production", 2, by="test")


def test_an_alias_moves_and_keeps_its_history(registry: Registry, model: Path) -> None:
    _register(registry, model)
    _register(registry, model, run_id="job-99999999")
    assert registry.alias("quickstart", "stable") is None
    first = registry.set_alias("quickstart", "stable", 1, by="ann", reason="first")
    assert registry.set_alias("quickstart", "stable", 1, by="bob") == first
    registry.set_alias("quickstart", "stable", 2, by="bob", expected_revision=1)
    with pytest.raises(ConflictError, match="revision 2 now"):
        registry.set_alias("quickstart", "stable", 1, by="eve", expected_revision=1)
    registry.remove_alias("quickstart", "stable", by="ann", reason="worse")
    assert registry.aliases("quickstart") == {}
    with pytest.raises(NotFoundError):
        registry.resolve("quickstart@stable")
    with pytest.raises(NotFoundError):
        registry.remove_alias("quickstart", "stable", by="ann")
    record = registry.alias("quickstart", "stable")
    assert record is not None
    assert [(change.version, change.by, change.reason) for change in record.history] == [
        (1, "ann", "first"),
        (2, "bob", ""),
        (0, "ann", "worse"),
    ]
    assert registry.set_alias("quickstart", "stable", 2, by="ann").revision == 4


@pytest.mark.parametrize("alias", ["12", "../stable", "Stable", "", "a" * 64, "stable.lock"])
def test_an_alias_is_a_word(registry: Registry, model: Path, alias: str) -> None:
    _register(registry, model)
    with pytest.raises(InvalidInputError):
        registry.set_alias("quickstart", alias, 1, by="test")


def test_an_alias_points_at_what_there_is(registry: Registry, model: Path) -> None:
    with pytest.raises(NotFoundError, match="no model 'quickstart'"):
        registry.set_alias("quickstart", "stable", 1, by="test")
    _register(registry, model)
    with pytest.raises(NotFoundError, match="has no version 2"):
        registry.set_alias("quickstart", "stable", 2, by="test")


def test_secrets_in_an_alias_s_reason_are_taken_out(registry: Registry, model: Path) -> None:
    _register(registry, model)
    record = registry.set_alias("quickstart", "stable", 1, by="ci", reason="see https://ci:hunter22@host/job?token=abc")
    assert "hunter22" not in record.to_json().decode()
    assert "abc" not in record.to_json().decode()
