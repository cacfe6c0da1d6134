"""`modelyard generate` over a folder: prompts from options and standard input, text and JSON out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from modelyard.cli.app import app
from modelyard.errors import InvalidInputError, NotFoundError, UsageError
from support.tiny_models import write_tiny_model

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return str(write_tiny_model(tmp_path_factory.mktemp("model")))


def test_n_continuations_as_json(folder: str) -> None:
    asked = ["generate", folder, "-p", "The loop", "-n", "3", "--max-tokens", "6", "--seed", "1", "-o", "json"]
    rows = json.loads(RUNNER.invoke(app, asked).stdout)
    assert [row["choice"] for row in rows] == [0, 1, 2]
    assert len({row["text"] for row in rows}) == 3
    assert {(row["model"], row["prompt"], row["completionTokens"]) for row in rows} == {(folder, "The loop", 6)}
    assert json.loads(RUNNER.invoke(app, asked).stdout) == rows


def test_a_prompt_from_standard_input(folder: str) -> None:
    asked = ["generate", folder, "--temperature", "0", "--max-tokens", "4", "--echo"]
    piped = RUNNER.invoke(app, [*asked, "-p", "-"], input="The loop\n").stdout
    assert piped.startswith("The loop")
    assert piped == RUNNER.invoke(app, [*asked, "-p", "The loop"]).stdout


def test_the_default_length_is_cut_to_what_fits(folder: str) -> None:
    result = RUNNER.invoke(app, ["generate", folder, "-p", "x" * 100, "-o", "json"])
    row = json.loads(result.stdout)[0]
    assert row["promptTokens"] + 64 > 128
    assert row["promptTokens"] + row["completionTokens"] <= 128
    refused = RUNNER.invoke(app, ["generate", folder, "-p", "x" * 100, "--max-tokens", "64"])
    assert isinstance(refused.exception, InvalidInputError)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["generate", str(tmp_path), "-p", "a"])
    assert isinstance(result.exception, NotFoundError)


def test_a_folder_of_text_does_not_hide_the_model_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    result = RUNNER.invoke(app, ["generate", "texts", "-p", "a"])
    assert "no yard" in str(result.exception)


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("./nowhere", NotFoundError, "no folder ./nowhere"),
        ("hf://gpt2", InvalidInputError, "not built yet"),
    ],
)
def test_a_model_that_is_not_there(model: str, error: type[Exception], words: str) -> None:
    result = RUNNER.invoke(app, ["generate", model, "-p", "a"])
    assert isinstance(result.exception, error)
    assert words in str(result.exception)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99"])
def test_a_device_that_is_not_there(folder: str, device: str) -> None:
    result = RUNNER.invoke(app, ["generate", folder, "-p", "a", "--device", device])
    assert isinstance(result.exception, UsageError)
    assert device in str(result.exception)
