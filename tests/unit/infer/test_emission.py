"""What may be seen: whole characters, nothing of a stop string, log-probabilities that belong to the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.infer.emission import ChoiceText, held_back, token_text
from modelyard.infer.sampling import TokenChances
from modelyard.text import Tokenizer, train_tokenizer
from support.tiny_models import LINES, Bpe


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(LINES * 3, Bpe(vocab_size=300), tmp_path_factory.mktemp("tokenizer"))


HELD = {
    "nothing to stop at": ("abc", (), 0),
    "no beginning": ("abc", ("x",), 0),
    "one character": ("abc", ("cd",), 1),
    "the longest beginning": ("aab", ("aabaac", "bc"), 3),
    "of several, the longer": ("xab", ("bz", "abz"), 2),
    "a whole stop is found, not held": ("ab", ("ab",), 0),
    "empty text": ("", ("ab",), 0),
}


@pytest.mark.parametrize("case", HELD)
def test_held_back(case: str) -> None:
    text, stops, count = HELD[case]
    assert held_back(text, stops) == count


def run(tokenizer: Tokenizer, ids: list[int], stops: tuple[str, ...]) -> tuple[str, list[int], bool]:
    """Text, tokens with a released log-probability, stopped; also checks each step's promises."""
    text = ChoiceText(tokenizer, stops)
    seen, kept = "", []
    for token in ids:
        released = text.push(token, TokenChances(-1.0, ()))
        seen += released.text
        kept += released.logprobs
        assert not any(stop in seen for stop in stops)
        if released.stopped:
            return seen, [entry.token_id for entry in kept], True
    released = text.finish()
    seen += released.text
    kept += released.logprobs
    assert [entry.text_offset for entry in kept] == sorted(entry.text_offset for entry in kept)
    return seen, [entry.token_id for entry in kept], released.stopped


@given(data=st.data())
def test_text_is_the_decoded_text_cut_before_the_first_stop(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(1, tokenizer.vocab_size - 1), max_size=30))
    whole = tokenizer.decode(ids)
    pieces = st.builds(lambda a, n: whole[a : a + n], st.integers(0, len(whole)), st.integers(1, 6))
    stops = tuple(s for s in data.draw(st.lists(st.one_of(pieces, st.text(min_size=1, max_size=3)), max_size=3)) if s)
    found = [at for at in (whole.find(stop) for stop in stops) if at >= 0]
    seen, tokens, stopped = run(tokenizer, ids, stops)
    # a stop that ends first is met first; among those that end together the earliest begin cuts
    assert stopped == bool(found)
    if found:
        assert whole.startswith(seen)
        assert any(whole[len(seen) :].startswith(stop) for stop in stops)
        assert not any(stop in seen for stop in stops)
        assert tokens == ids[: len(tokens)]
    else:
        assert seen == whole
        assert tokens == ids


def test_a_stop_across_tokens_is_never_seen(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("one STOP two")
    assert len(tokenizer.encode("STOP")) > 1
    assert run(tokenizer, ids, ("STOP",))[0] == "one "
    assert run(tokenizer, ids, ("STOPPED",))[0] == "one STOP two"  # held back, then let go


def test_only_whole_characters(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙃日é")
    text = ChoiceText(tokenizer, ())
    pushed = [text.push(token, None).text for token in ids]
    assert "".join(pushed) == "🙃日é"
    assert all("\ufffd" not in piece for piece in pushed)
    cut = ChoiceText(tokenizer, ())
    assert cut.push(ids[0], None).text == ""
    assert cut.finish().text == "\ufffd"


def test_a_token_alone(tokenizer: Tokenizer) -> None:
    first = tokenizer.encode("🙃")[0]
    assert token_text(tokenizer, first).startswith("bytes:\\xf0")
    assert token_text(tokenizer, tokenizer.encode("a")[0]) == "a"


def test_echo_lists_the_prompt_with_its_offsets(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.bos_id, *tokenizer.encode("né!")]
    chances = [None, *(TokenChances(-2.0, ((5, -0.5),)) for _ in ids[1:])]
    text = ChoiceText(tokenizer, ())
    released = text.echo("né!", ids, chances)
    assert released.text == "né!"
    assert released.logprobs[0].logprob is None
    assert released.logprobs[0].text_offset == 0
    assert [entry.token_id for entry in released.logprobs] == ids
    follow = text.push(tokenizer.encode("a")[0], TokenChances(-1.0, ()))
    assert follow.logprobs[0].text_offset == 3
