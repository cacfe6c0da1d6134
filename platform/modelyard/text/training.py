"""Training a tokenizer: byte-level BPE, so that every text has ids and comes back byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from modelyard.errors import BadDataError, InvalidInputError
from modelyard.text.tokenizer import Tokenizer, open_tokenizer, pieces

END_OF_TEXT = "<|endoftext|>"
# The trainer's time grows with the square of a word's length (base64, DNA, minified code); no merge is that long.
_LONG_RUN = re.compile(r"\S{1000}|\s{1000}")
SMALLEST_VOCABULARY = 257  # 256 bytes and the end of text


class TrainTokenizer(Protocol):
    """What is asked for: `model.tokenizer.train` of a manifest."""

    @property
    def algorithm(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...


def train_tokenizer(texts: Iterable[str], spec: TrainTokenizer, folder: Path) -> Tokenizer:
    """Train on `texts` (read once, as a stream) and write a folder that transformers' AutoTokenizer loads.

    `<|endoftext|>`, id 0, is begin, end and padding. The same texts in the same order give the same bytes. A small
    corpus may give fewer than `vocab_size` tokens. Raises InvalidInputError for an algorithm or size that cannot be,
    BadDataError when there is no text.
    """
    if spec.algorithm != "bpe":
        raise InvalidInputError(f"tokenizer algorithm {spec.algorithm!r} is not known; write bpe")
    if spec.vocab_size < SMALLEST_VOCABULARY:
        raise InvalidInputError(f"vocabSize {spec.vocab_size} is below {SMALLEST_VOCABULARY} (256 bytes, end of text)")
    seen = 0

    def stream() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += len(text)
            for piece in pieces(text):
                yield from _short_runs(piece)

    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
        min_frequency=2,  # a pair seen once teaches nothing
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(stream(), trainer)
    if not seen:
        raise BadDataError("there is no text to train a tokenizer on")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(backend.to_str(pretty=True), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return open_tokenizer(folder)


def _short_runs(text: str) -> Iterator[str]:
    """The text, cut within runs of more than 1000 characters with or without white space."""
    start = 0
    for run in _LONG_RUN.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    yield text[start:]
