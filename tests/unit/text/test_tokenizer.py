"""Tokenizer folders: trained, opened, saved; text comes back as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import BadDataError, InvalidInputError, NotFoundError
from modelyard.spec.models import TokenizerTrainSpec
from modelyard.text import END_OF_TEXT, Tokenizer, open_tokenizer, train_tokenizer
from modelyard.text.tokenizer import PIECE_CHARACTERS, pieces
from support.datasets import SENTENCES, small_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_every_text_comes_back(tokenizer: Tokenizer) -> None:
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def check(text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text)) == text

    check()


def test_words_without_end_train_a_tokenizer_in_time(tmp_path: Path) -> None:
    # without cuts the trainer needs minutes for each: its time grows with the square of a word's length
    for name, text in (("letters", "A" * 2_000_000), ("blanks", " " * 2_000_000)):
        made = train_tokenizer([text, "and words"], TokenizerTrainSpec(), tmp_path / name)
        assert made.decode(made.encode(text[:3000])) == text[:3000]


def test_text_is_never_a_special_token(tokenizer: Tokenizer) -> None:
    text = f"a{END_OF_TEXT}b"
    assert tokenizer.eos_id not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text, specials=True).count(tokenizer.eos_id) == 1


def test_special_tokens_are_left_out_of_text_unless_wished(tokenizer: Tokenizer) -> None:
    ids = [*tokenizer.encode("a"), tokenizer.eos_id]
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.decode(ids, specials=True) == f"a{END_OF_TEXT}"


def test_one_token_stands_for_begin_end_and_padding(tokenizer: Tokenizer) -> None:
    assert tokenizer.bos_id == tokenizer.eos_id == tokenizer.pad_id == 0
    assert tokenizer.token_bytes(0) == END_OF_TEXT.encode()
    assert tokenizer.vocab_size == 320


def test_tokens_show_their_bytes(tokenizer: Tokenizer) -> None:
    text = "日本 naïve"
    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(text))) == text.encode()
    assert tokenizer.token_bytes(10**6) == b""


def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer) -> None:
    texts = [*SENTENCES, "", "x" * (PIECE_CHARACTERS + 1)]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize("separator", ["\n", " ", ""])
def test_a_long_text_is_encoded_in_pieces_without_loss(tokenizer: Tokenizer, separator: str) -> None:
    text = separator.join(["lines of é text"] * (PIECE_CHARACTERS // 14))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_long(text).tolist() == tokenizer.encode(text)


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 9))
def test_pieces_are_the_text(text: str, limit: int) -> None:
    parts = list(pieces(text, limit))
    assert "".join(parts) == text
    assert all(len(part) <= limit for part in parts)


def test_a_saved_folder_is_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "copy")
    copy = open_tokenizer(tmp_path / "copy")
    assert copy.digest == tokenizer.digest
    assert copy.encode_batch(SENTENCES) == tokenizer.encode_batch(SENTENCES)


def test_any_change_of_a_file_changes_the_digest(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("hello")
    assert open_tokenizer(tmp_path).digest != tokenizer.digest


TRAIN = """
import sys
from pathlib import Path
from support.datasets import small_tokenizer
print(small_tokenizer(Path(sys.argv[1])).digest)
"""


def test_training_again_elsewhere_gives_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", TRAIN, str(tmp_path)]
    digest = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert digest == tokenizer.digest


def test_transformers_reads_the_folder_and_gives_the_same_ids(tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tokenizer.folder)
    for text in SENTENCES:
        assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False) == text
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 0, 0)
    assert len(theirs) == tokenizer.vocab_size


def test_what_transformers_saves_is_read(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(tokenizer.folder).save_pretrained(tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.encode_batch(SENTENCES) == tokenizer.encode_batch(SENTENCES)
    assert (again.eos_id, again.vocab_size, again.byte_level) == (0, tokenizer.vocab_size, True)


def test_without_text_there_is_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="no text"):
        train_tokenizer(iter([]), TokenizerTrainSpec(), tmp_path)


def _edited(tokenizer: Tokenizer, folder: Path, **config: object) -> Path:
    tokenizer.save(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def test_special_tokens_may_be_objects_and_fall_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    token = {"content": END_OF_TEXT, "lstrip": False}
    opened = open_tokenizer(_edited(tokenizer, tmp_path, bos_token=None, pad_token=None, eos_token=token))
    assert opened.bos_id == opened.pad_id == opened.eos_id == 0


def test_what_cannot_be_opened_is_said_in_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no tokenizer\.json"):
        open_tokenizer(tmp_path)
    with pytest.raises(InvalidInputError, match="end-of-text"):
        open_tokenizer(_edited(tokenizer, tmp_path / "a", eos_token=None))
    broken = _edited(tokenizer, tmp_path / "b")
    (broken / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="is no tokenizer"):
        open_tokenizer(broken)
    tokenizer.save(broken)
    (broken / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(InvalidInputError, match="JSON object"):
        open_tokenizer(broken)
