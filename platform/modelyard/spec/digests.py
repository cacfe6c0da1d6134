"""Canonical documents and their digests: order, spelling of defaults and new fields change nothing.

Two texts with the same meaning have the same digest; the digest version changes when these rules do.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from modelyard.spec.manifests import Manifest, TrainingJob

DIGEST_VERSION = 1
# What determines the weights (the objective's member has the objective's name), and nothing else.
TRAINING_FIELDS = (
    "objective", "masked_lm", "seq2seq", "chat", "text_classification", "token_classification",
    "question_answering", "preference", "distillation", "model", "data", "optimization",
)  # fmt: skip


def spec_digest(manifest: Manifest) -> str:
    """`sha256:…` over the kind and the whole spec; metadata is not part of it."""
    return _digest("spec", {"kind": manifest.kind, "spec": canonical(manifest.spec)})


def training_digest(job: TrainingJob) -> str:
    """`sha256:…` over what determines the weights: objective, its member, model, data, optimization."""
    fields = {name: getattr(job.spec, name) for name in TRAINING_FIELDS}
    return _digest("training", {name: canonical(value) for name, value in fields.items() if value is not None})


def canonical(value: Any) -> Any:
    """Plain JSON values without fields that have their default; whole floats are written as integers."""
    if isinstance(value, BaseModel):
        return {
            field.alias or name: canonical(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if field.is_required() or getattr(value, name) != field.default
        }
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _digest(purpose: str, document: dict[str, Any]) -> str:
    whole = {"digest": purpose, "digestVersion": DIGEST_VERSION, **document}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
