"""What is loaded by a registry's name is what was registered, for every verb that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelyard
from modelyard import yard as yards
from modelyard.errors import IntegrityError, NotFoundError
from modelyard.registry import open_registry
from modelyard.workflow.references import resolve_model
from support.tiny_models import write_tiny_model

ZERO = "sha256:" + "0" * 64


def test_a_flipped_bit_is_named_and_refused(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    yard = yards.open_yard(tmp_path / "yard")
    open_registry(yard).register(
        "base", folder, run_id="r", spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO, code_version="0"
    )
    assert resolve_model("registry://base", root=tmp_path, yard=yard).label == "base@1"

    weights = yard.model_folder("base", 1) / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"weightr")
    with pytest.raises(IntegrityError, match=r"model\.safetensors is damaged"):
        resolve_model("registry://base@1", root=tmp_path, yard=yard)
    with pytest.raises(IntegrityError, match=r"model\.safetensors is damaged"):
        modelyard.load("registry://base", root=tmp_path)
    with pytest.raises(IntegrityError, match=r"model\.safetensors is damaged"):
        modelyard.load("base@1", root=tmp_path)


@pytest.mark.parametrize("reference", ["./model", "model", Path("model")])
def test_a_folder_is_loaded_without_a_yard(tmp_path: Path, reference: str | Path) -> None:
    write_tiny_model(tmp_path / "model")
    modelyard.load(reference, root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("reference", ["./model", "base@1", "registry://base", Path("model")])
def test_what_is_not_there_makes_no_yard(tmp_path: Path, reference: str | Path) -> None:
    with pytest.raises(NotFoundError):
        modelyard.load(reference, root=tmp_path)
    assert not list(tmp_path.iterdir())
