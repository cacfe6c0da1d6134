"""Streaming decoding: joined it is the whole decoding, and no character comes in halves."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from modelyard.text import StreamDecoder, Tokenizer, open_tokenizer
from support.datasets import SENTENCES, small_tokenizer

REPLACEMENT = "\ufffd"


def _byte_level(folder: Path) -> Tokenizer:
    return small_tokenizer(folder)


def _written(folder: Path, backend: tokenizers.Tokenizer) -> Tokenizer:
    backend.add_special_tokens(["</s>"])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    return open_tokenizer(folder)


def _sentencepiece(folder: Path) -> Tokenizer:
    """As Llama 2: spaces as ▁, unknown characters as bytes."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "▁b", "é", "▁the", "日"]
    backend = tokenizers.Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _written(folder, backend)


def _metaspace(folder: Path) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.Unigram([("<unk>", -9.0), ("▁", -2.0), ("▁a", -1.0), ("b", -1.0)], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return _written(folder, backend)


def _word_piece(folder: Path) -> Tokenizer:
    names = ["[UNK]", "a", "##b", "can", "'", "t", ".", "do", "n't", "##é", "##."]
    backend = tokenizers.Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return _written(folder, backend)


KINDS = {"byte level": _byte_level, "byte fallback": _sentencepiece, "metaspace": _metaspace, "word piece": _word_piece}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return KINDS[request.param](tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return _byte_level(tmp_path_factory.mktemp("tokenizer"))


def stream(tokenizer: Tokenizer, ids: list[int], *, specials: bool = False) -> list[str]:
    decoder = StreamDecoder(tokenizer, specials=specials)
    return [*map(decoder.push, ids), decoder.flush()]


def test_joined_it_is_the_whole_decoding_of_any_ids(tokenizer: Tokenizer) -> None:
    ids = st.lists(st.integers(0, tokenizer.vocab_size + 2), max_size=40)

    @given(ids, st.booleans())
    def check(ids: list[int], specials: bool) -> None:
        assert "".join(stream(tokenizer, ids, specials=specials)) == tokenizer.decode(ids, specials=specials)

    check()


def test_after_other_tokens_it_is_what_the_whole_decoding_adds(tokenizer: Tokenizer) -> None:
    names = [tokenizer.backend.id_to_token(token) for token in range(tokenizer.vocab_size)]
    whole = [i for i, name in enumerate(names) if not name.startswith("<") and tokenizer.token_bytes(i).isascii()]

    @given(
        st.lists(st.sampled_from(whole), max_size=6), st.lists(st.integers(0, tokenizer.vocab_size + 2), max_size=20)
    )
    def check(before: list[int], ids: list[int]) -> None:
        decoder = StreamDecoder(tokenizer, after=before)
        told = "".join([*map(decoder.push, ids), decoder.flush()])
        assert tokenizer.decode(before) + told == tokenizer.decode(before + ids)

    check()


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        pytest.param([], "a", id="the beginning"),
        pytest.param(["b"], " a", id="in a text"),
        pytest.param(["b", "</s>"], "a", id="after a special token a new text begins"),
        pytest.param(["b", "<0xE6>", "<0x97>"], " a", id="after half a character"),
        pytest.param(["<0xE6>", "<0x97>"], "a", id="after nothing but half a character"),
    ],
)
def test_the_first_word_has_its_space(tmp_path: Path, before: list[str], shown: str) -> None:
    tokenizer = _sentencepiece(tmp_path)
    decoder = StreamDecoder(tokenizer, after=[tokenizer.backend.token_to_id(name) for name in before])
    assert decoder.push(tokenizer.backend.token_to_id("▁a")) == shown


def test_characters_come_whole(byte_level: Tokenizer) -> None:
    @given(st.one_of(st.sampled_from(SENTENCES), st.text(st.characters(exclude_categories=["Cs"]))))
    def check(text: str) -> None:
        parts = stream(byte_level, byte_level.encode(text))
        assert "".join(parts) == text
        assert parts[-1] == ""
        assert REPLACEMENT in text or not any(REPLACEMENT in part for part in parts)

    check()


def test_text_comes_as_early_as_it_can(byte_level: Tokenizer) -> None:
    parts = stream(byte_level, byte_level.encode("ab 日"))
    assert parts[0] != ""
    assert "".join(parts[:-2]) == "ab "


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\xe6\x97", ["a", "", "", REPLACEMENT]),  # the character never ends
        (b"\xf0\x9f\x91z", ["", "", "", REPLACEMENT + "z", ""]),  # it is broken off
        (b"\xffz", [REPLACEMENT, "z", ""]),  # it is none
        (b"\xc3\xa9", ["", "é", ""]),
    ],
)
def test_broken_bytes_become_a_replacement(byte_level: Tokenizer, data: bytes, shown: list[str]) -> None:
    single = {byte_level.token_bytes(token): token for token in range(byte_level.vocab_size)}
    assert stream(byte_level, [single[bytes([byte])] for byte in data]) == shown


def test_after_flush_it_is_as_new(tokenizer: Tokenizer) -> None:
    decoder = StreamDecoder(tokenizer)
    ids = [1, 2, 3, 1]
    first = "".join([*map(decoder.push, ids), decoder.flush()])
    assert "".join([*map(decoder.push, ids), decoder.flush()]) == first
