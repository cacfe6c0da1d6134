"""What a stage ran on: versions, machine, and the names (never the values) of environment variables that matter."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

import modelyard

_PACKAGES = ("torch", "ray", "deepspeed", "transformers", "tokenizers", "safetensors", "numpy", "pydantic")
_PREFIXES = ("MODELYARD_", "RAY_", "DS_", "CUDA_", "NCCL_", "OMP_", "HF_", "TOKENIZERS_", "TORCH_", "PYTHON")


def environment() -> dict[str, str]:
    """Facts for a record: flat, short, without secrets."""
    facts = {"modelyard": code_version(), "python": platform.python_version(), "machine": _machine()}
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "absent"
    facts["environmentVariables"] = " ".join(sorted(name for name in os.environ if name.startswith(_PREFIXES)))
    return facts


@functools.cache
def code_version() -> str:
    """Modelyard's version and the first 12 hex digits of its own sources' digest: an edited checkout says so."""
    folder = Path(modelyard.__file__).parent
    sources = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        sources.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return f"{modelyard.__version__}+src.{sources.hexdigest()[:12]}"


def _machine() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"
