"""Request bodies: what is read, what is ignored, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.serve.protocol import parse_chat, parse_completion
from modelyard.serve.refusals import RefusedError

HELLO = [{"role": "user", "content": "hello"}]


def completion(**fields: Any) -> Any:
    return parse_completion(json.dumps({"model": "m", "prompt": "a", **fields}).encode())


def chat(**fields: Any) -> Any:
    return parse_chat(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        pytest.param("a", ["a"], id="text"),
        pytest.param("", [""], id="empty text is the beginning of a document"),
        pytest.param(["a", "b"], ["a", "b"], id="texts"),
        pytest.param([5, 6], [[5, 6]], id="token ids are one prompt"),
        pytest.param([[5], [6, 7]], [[5], [6, 7]], id="lists of token ids"),
    ],
)
def test_prompts(prompt: Any, expected: Any) -> None:
    assert completion(prompt=prompt).prompt == expected


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        pytest.param({"prompt": []}, "prompt", "not empty", id="no prompt"),
        pytest.param({"prompt": [[]]}, "prompt", "empty list", id="empty ids"),
        pytest.param({"prompt": ["a", 5]}, "prompt", "mixes kinds", id="mixed"),
        pytest.param({"prompt": [True]}, "prompt", "mixes kinds", id="booleans are no ids"),
        pytest.param({"prompt": 5}, "prompt", "a string", id="number"),
        pytest.param({"prompt": ["a"] * 100, "n": 3}, "prompt", "more than 256 choices", id="too many choices"),
        pytest.param({"prompt": ["a"] * 257}, "prompt", "more than 256 choices", id="too many prompts"),
        pytest.param({"temperature": -0.1}, "temperature", "greater than or equal to 0", id="cold"),
        pytest.param({"temperature": 2.1}, "temperature", "less than or equal to 2", id="hot"),
        pytest.param({"temperature": "1"}, "temperature", "valid number", id="a string is no number"),
        pytest.param({"top_p": 1.5}, "top_p", "less than or equal to 1", id="top_p"),
        pytest.param({"max_tokens": -1}, "max_tokens", "greater than or equal to 0", id="max_tokens"),
        pytest.param({"max_tokens": 1.5}, "max_tokens", "valid integer", id="half a token"),
        pytest.param({"n": 0}, "n", "greater than or equal to 1", id="n"),
        pytest.param({"logprobs": 6}, "logprobs", "less than or equal to 5", id="logprobs"),
        pytest.param({"logprobs": True}, "logprobs", "valid integer", id="chat's logprobs"),
        pytest.param({"stop": ["a"] * 5}, "stop", "at most 4", id="five stops"),
        pytest.param({"stop": ""}, "stop", "not empty", id="empty stop"),
        pytest.param({"stop": "x" * 1025}, "stop", "1024", id="long stop"),
        pytest.param({"best_of": 2}, "best_of", "only best_of = n", id="best_of"),
        pytest.param({"presence_penalty": 0.5}, "presence_penalty", "not built", id="presence"),
        pytest.param({"frequency_penalty": -1}, "frequency_penalty", "not built", id="frequency"),
        pytest.param({"logit_bias": {"5": 1}}, "logit_bias", "not built", id="bias"),
        pytest.param({"suffix": "z"}, "suffix", "not built", id="suffix"),
        pytest.param({"response_format": {"type": "json_object"}}, "response_format", "not built", id="json"),
        pytest.param({"tools": [{"type": "function"}]}, "tools", "not built", id="tools"),
        pytest.param({"stream_options": {"include_usage": True}}, "stream_options", "only with stream", id="options"),
        pytest.param({"temprature": 1}, "temprature", "did you mean temperature?", id="misspelt"),
        pytest.param({"seed": 2**63}, "seed", "less than", id="seed beyond 63 bits"),
        pytest.param({"model": None}, "model", "valid string", id="no model"),
    ],
)
def test_refused(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        completion(**fields)
    assert caught.value.status == 400
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "safety_identifier": "x"},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "suffix": "", "best_of": 1, "tools": []},
        {"logprobs": None, "stop": None, "seed": None, "n": None, "stream": None, "logit_bias": None, "unknown": None},
        {"response_format": {"type": "text"}, "tool_choice": "none", "min_p": 0},
    ],
    ids=["bookkeeping", "neutral values", "nulls", "neutral options"],
)
def test_harmless_fields_change_nothing(fields: dict[str, Any]) -> None:
    assert completion(**fields).sampling(room=100) == completion().sampling(room=100)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is not JSON: EOF"),
        (b"{", "the body is not JSON: EOF"),
        (b"[]", "^Input should be an object$"),
        (b"5", "^Input should be an object$"),
        (b'{"model": "m", "prompt": "\xff"}', "the body is not JSON: invalid unicode"),
        (b'{"model": NaN}', "the body is not JSON: expected value"),
    ],
)
def test_what_is_no_request(body: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        parse_completion(body)
    assert caught.value.status == 400


def test_of_too_many_prompts_none_is_looked_at() -> None:
    with pytest.raises(RefusedError, match="300 prompts are more than 256 choices"):
        completion(prompt=[*[[1]] * 299, "mixed"])
    assert len(completion(prompt=[1] * 300).prompt[0]) == 300  # token ids are one prompt


def test_no_near_name_is_looked_for_when_a_field_is_longer_than_any(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, *_, **__: looked.append(name) or [])
    for name in ("temprature", "x" * 65):
        with pytest.raises(RefusedError, match=f"^{name[:64]}: unknown field$"):
            completion(**{name: 1})
    assert looked == ["temprature"]


@pytest.mark.parametrize("unit", ["[", "{", '"[', '\\"[', '\\\\"["', "\\\\[", "]"])
def test_brackets_in_a_text_are_no_lists(unit: str) -> None:
    assert completion(prompt=unit * 70_000).prompt == [unit * 70_000]


@pytest.mark.parametrize("unit", ["[1]", "{}", '["\\""]', '{"a":"\\\\"}'])
def test_millions_of_lists_are_refused_unread(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("modelyard.serve.protocol.from_json")
    with pytest.raises(RefusedError, match="more than 65536 lists and objects"):
        parse_completion(b'{"model": "m", "prompt": [%b]}' % b",".join([unit.encode()] * 70_000))


def test_deep_json_is_refused_not_crashed_on() -> None:
    with pytest.raises(RefusedError):
        parse_completion(b'{"model": "m", "prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(RefusedError) as caught:
        completion(temperature=9, top_p=9)
    assert "temperature" in str(caught.value)
    assert "top_p" in str(caught.value)


def test_defaults_are_those_of_openai() -> None:
    params = completion().sampling(room=100)
    assert (params.max_tokens, params.temperature, params.top_p, params.n, params.seed) == (16, 1.0, 1.0, 1, None)
    assert completion().sampling(room=5).max_tokens == 5  # what fits, when nobody asked for a number
    assert chat().sampling(room=100).max_tokens == 100
    assert chat(max_completion_tokens=7, max_tokens=9).sampling(room=100).max_tokens == 7


def test_top_p_zero_is_greedy() -> None:
    assert completion(top_p=0).sampling(room=9).temperature == 0.0


def test_stops_and_seeds() -> None:
    params = completion(stop="x", seed=-5).sampling(room=9)
    assert params.stop == ("x",)
    assert params.seed == 2**63 - 5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "at least 1 item"),
        ({"messages": ["hello"]}, r"^messages\[0\]: Input should be an object$"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "Input should be 'system'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text parts"),
        ({"messages": [{"role": "user", "content": 5}]}, "valid string"),
        ({"messages": [{"role": "assistant", "content": "a", "tool_calls": [{}]}]}, "not built"),
        ({"top_logprobs": 2}, "needs logprobs: true"),
        ({"logprobs": True, "top_logprobs": 6}, "less than or equal to 5"),
        ({"logprobs": 2}, "valid boolean"),
    ],
)
def test_chat_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        chat(**fields)


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages[0].content == "ab"


def test_chat_logprobs() -> None:
    assert chat().sampling(room=9).logprobs is None
    assert chat(logprobs=True).sampling(room=9).logprobs == 0
    assert chat(logprobs=True, top_logprobs=3).sampling(room=9).logprobs == 3
