from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from modelyard.infer import Model, open_model
from support.tiny_models import write_tiny_model


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a tiny model of a family; made once per (family, configuration)."""
    made: dict[str, Path] = {}

    def make(model_type: str = "llama", **config: Any) -> Path:
        key = repr((model_type, sorted(config.items())))
        if key not in made:
            made[key] = write_tiny_model(tmp_path_factory.mktemp(model_type), model_type, **config)
        return made[key]

    return make


@pytest.fixture(scope="session")
def llama(folder: Callable[..., Path]) -> Model:
    return open_model(folder("llama"))


@pytest.fixture(scope="session")
def reference(folder: Callable[..., Path]) -> Callable[..., Any]:
    """The same model by transformers alone."""

    def load(model_type: str = "llama", **config: Any) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(folder(model_type, **config)).eval()

    return load
