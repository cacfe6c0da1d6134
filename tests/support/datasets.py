"""Small tokenizers, jobs, files and splits for tests of text, data and what lies above them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.data import Split
from modelyard.spec.manifests import TrainingJob
from modelyard.spec.models import TokenizerTrainSpec
from modelyard.text import Tokenizer, train_tokenizer

SENTENCES = (
    "The yard keeps what was made, and where it came from.",
    "A réseau of façades — naïve, but œuvre.",
    "日本語の文章、そして中文文本。",
    "emoji 👩‍👩‍👧 and flags 🇫🇷, combining e\u0301 and a\u030a",
    "def f(x):\n\treturn  x ** 2\r\n\n\n# done",
)


def small_tokenizer(folder: Path, *, vocab_size: int = 320, texts: Iterable[str] = SENTENCES * 3) -> Tokenizer:
    """A byte-level BPE trained in milliseconds."""
    return train_tokenizer(texts, TokenizerTrainSpec(vocab_size=vocab_size), folder)


def training_job(train: Sequence[dict[str, Any]], **data: Any) -> TrainingJob:
    """A job over these sources; `data` are further fields of spec.data, in camelCase."""
    return TrainingJob.model_validate(
        {
            "metadata": {"name": "test"},
            "spec": {
                "objective": "causal-lm",
                "model": {"architecture": "llama", "tokenizer": {"train": {"vocabSize": 300}}},
                "data": {"train": list(train), **data},
                "optimization": {"steps": 1},
                "register": {"name": "test"},
            },
        }
    )


def write_jsonl(path: Path, texts: Iterable[str]) -> Path:
    """A JSONL file of these texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def memory_split(lengths: Sequence[int], sources: Sequence[int] | None = None, num_sources: int = 1) -> Split:
    """A split that is in no file. Every token of it is different, from 10 on: a row tells where it was cut from.

    begin is 1, end 2, padding 3.
    """
    count = len(lengths)
    total = sum(lengths)
    return Split(
        folder=Path("memory"),
        source_names=tuple(f"source-{number}" for number in range(num_sources)),
        vocab_size=total + 10,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        lengths=np.asarray(lengths, dtype=np.int64),
        source_ids=np.asarray(sources if sources is not None else [0] * count, dtype=np.uint16),
        _text_bytes=np.asarray(lengths, dtype=np.int64),
        _digests=np.zeros((count, 32), dtype=np.uint8),
        _shards=(np.arange(10, 10 + total, dtype=np.uint32),),
    )
