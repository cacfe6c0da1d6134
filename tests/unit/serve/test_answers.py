"""Response shapes that do not need an engine to be wrong."""

from __future__ import annotations

from modelyard.infer import TokenLogprob
from modelyard.serve.answers import ChoiceState, chat_logprobs, legacy_logprobs, token_bytes, usage


def test_a_prompt_counts_once_for_all_its_choices() -> None:
    choices = [ChoiceState(prompt_tokens=5, completion_tokens=n) for n in (1, 2)]
    choices += [ChoiceState(prompt_tokens=7, completion_tokens=n) for n in (3, 4)]
    assert usage(choices, num_choices_per_prompt=2) == {
        "prompt_tokens": 12,
        "completion_tokens": 10,
        "total_tokens": 22,
    }


def test_legacy_lists_run_in_parallel_and_hold_the_chosen_token() -> None:
    first = TokenLogprob(1, "a", None, (), 0)
    second = TokenLogprob(2, "b", -3.0, ((9, "z", -0.5), (8, "y", -1.0)), 1)
    assert legacy_logprobs([first, second]) == {
        "tokens": ["a", "b"],
        "token_logprobs": [None, -3.0],
        "top_logprobs": [None, {"z": -0.5, "y": -1.0, "b": -3.0}],
        "text_offset": [0, 1],
    }


def test_of_tokens_with_the_same_text_the_likelier_stands() -> None:
    one = TokenLogprob(2, "x", -3.0, ((9, "x", -0.5),), 0)
    assert legacy_logprobs([one])["top_logprobs"] == [{"x": -0.5}]


def test_parts_of_characters_keep_their_bytes() -> None:
    assert token_bytes("é") == "é".encode()
    assert token_bytes("bytes:\\xe2\\x80") == b"\xe2\x80"
    told = chat_logprobs([TokenLogprob(2, "bytes:\\xe2\\x80", -1.0, ((3, "é", -2.0),), 0)])
    assert told[0]["bytes"] == [0xE2, 0x80]
    assert told[0]["top_logprobs"][0]["bytes"] == [0xC3, 0xA9]
