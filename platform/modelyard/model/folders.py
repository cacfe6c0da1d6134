"""Hugging Face folders: what is read from one and what one of ours holds.

Tensors come as safetensors only; pickles (.bin, .pt) and remote code (`auto_map`) are refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from modelyard.errors import IntegrityError, InvalidInputError, NotFoundError
from modelyard.model.families import causal_lm_class, config_class

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # `precision` of a manifest
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def read_config(folder: Path) -> Any:
    """The config of a model folder. Never downloads, never runs the folder's own code."""
    path = folder / "config.json"
    if not path.is_file():
        raise NotFoundError(f"{folder} is no model folder: it has no config.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(f"{path} is not JSON: {error}") from error
    if "model_type" not in document:
        raise InvalidInputError(f"{path} names no model_type: not a transformers model")
    try:
        return config_class(str(document["model_type"])).from_dict(document)
    except InvalidInputError as error:
        hint = "the model needs code of its own (auto_map), which is not run" if "auto_map" in document else ""
        raise InvalidInputError(f"{path}: {error}", hint=hint) from error


def load_folder(folder: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> torch.nn.Module:
    """The causal language model of a folder, in evaluation mode.

    Raises NotFoundError without weights, InvalidInputError for pickled ones, IntegrityError for missing tensors.
    """
    check_safe(folder)
    config = read_config(folder)
    kind = causal_lm_class(config)
    try:
        module, found = kind.from_pretrained(
            str(folder),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except OSError as error:
        raise IntegrityError(f"{folder} cannot be loaded: {error}") from error
    missing = sorted(found.get("missing_keys", ()))
    if missing:
        raise IntegrityError(f"{folder} lacks {len(missing)} of the model's tensors, the first is {missing[0]}")
    loaded: torch.nn.Module = module.to(device)
    return loaded.eval()


def check_safe(folder: Path) -> None:
    """Refuse a folder whose weights are pickles."""
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
    if pickles:
        raise InvalidInputError(
            f"{folder} holds pickled weights ({pickles[0]}), which can run code when read: refused",
            hint="convert them to safetensors first",
        )
    raise NotFoundError(f"{folder} holds no *.safetensors weights")


def save_folder(
    state: Iterable[tuple[str, torch.Tensor]],
    config: Any,
    out: Path,
    *,
    tokenizer_folder: Path | None,
    card: str,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Write a whole model folder (config, safetensors, generation config, tokenizer, README.md card) into `out`.

    `state` gives every tensor under the module's own names, tied ones once. What stood in `out` is removed first.
    Returns the number of parameters. The caller digests and publishes; nothing here says that the folder counts.
    """
    module = empty_module(config, dtype=dtype)
    _fill(module, state, dtype)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    module.config.dtype = dtype
    transformers_logging.disable_progress_bar()  # else it lands in the workers' logs
    module.save_pretrained(str(out), max_shard_size="4GB")  # type: ignore[operator]
    if tokenizer_folder is not None:
        for file in sorted(p for p in tokenizer_folder.iterdir() if p.is_file()):
            shutil.copyfile(file, out / file.name)
    (out / "README.md").write_text(card, encoding="utf-8")
    return sum(p.numel() for p in module.parameters())


def empty_module(config: Any, *, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """The module without memory for its weights (meta device)."""
    kind = causal_lm_class(config)
    with torch.device("meta"):
        module: torch.nn.Module = kind._from_config(config, dtype=dtype)
    return module


def _fill(module: torch.nn.Module, state: Iterable[tuple[str, torch.Tensor]], dtype: torch.dtype) -> None:
    """Put the tensors into a meta module; every parameter and persistent buffer must get one."""
    kinds = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    given = {n: t.to(dtype) if t.is_floating_point() and n in kinds else t for n, t in state}
    result = module.load_state_dict(given, strict=False, assign=True)
    module.tie_weights()  # type: ignore[operator]
    absent = sorted(n for n, t in module.state_dict().items() if t.is_meta)
    if absent or result.unexpected_keys:
        what = f"no value for {absent[0]}" if absent else f"an unknown tensor {result.unexpected_keys[0]}"
        raise IntegrityError(f"the checkpoint does not fit the model: {what}")
