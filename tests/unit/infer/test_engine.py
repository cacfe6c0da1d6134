"""The engine's promises besides greedy equality: choices, seeds, stops, log-probabilities, cancelling, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch

from modelyard.errors import InvalidInputError
from modelyard.infer import Engine, Model, Request, SamplingParams, TokenEvent, open_model
from modelyard.infer.executor import Chunk
from modelyard.text import open_tokenizer

PROMPT = (5, 9, 33, 120, 7)
SAMPLED = SamplingParams(max_tokens=12, temperature=1.0, seed=7)


def run(engine: Engine) -> list[TokenEvent]:
    events = []
    while engine.has_work:
        events += engine.step()
    return events


def text_of(events: Sequence[TokenEvent], name: str, choice: int = 0) -> str:
    return "".join(event.text for event in events if (event.request_id, event.choice) == (name, choice))


def test_a_seed_gives_the_same_text_alone_and_in_company(llama: Model) -> None:
    alone = llama.generate([PROMPT], SAMPLED)[0]
    assert llama.generate([PROMPT], SAMPLED)[0] == alone
    assert llama.generate([PROMPT], SamplingParams(max_tokens=12, temperature=1.0, seed=8))[0].text != alone.text
    engine = Engine(llama)
    for index in range(5):
        engine.add(Request(f"other{index}", (1 + index, 2, 3), SamplingParams(max_tokens=9, temperature=1.5)))
    engine.step()
    engine.add(Request("mine", PROMPT, SAMPLED))
    assert text_of(run(engine), "mine") == alone.text


def test_choices_are_n_streams_of_one_seed(llama: Model) -> None:
    params = SamplingParams(max_tokens=8, temperature=1.0, seed=3, n=20)  # more than the rows: they queue
    choices = llama.generate([PROMPT], params)
    assert [c.choice for c in choices] == list(range(20))
    assert len({c.token_ids for c in choices}) > 15
    assert llama.generate([PROMPT], params) == choices
    fewer = SamplingParams(max_tokens=8, temperature=1.0, seed=3, n=2)
    assert llama.generate([PROMPT], fewer) == choices[:2]


def test_prompts_of_both_kinds_and_their_counts(llama: Model) -> None:
    text, ids = llama.generate(["The loop", llama.encode_prompt("The loop")], SamplingParams(max_tokens=5))
    assert text.token_ids == ids.token_ids
    assert text.prompt == "The loop"
    assert text.prompt_tokens == len(llama.encode_prompt("The loop"))
    assert llama.generate("The loop", SamplingParams(max_tokens=5)) == [text]
    assert llama.encode_prompt("") == [llama.tokenizer.bos_id]
    assert llama.encode_prompt("a")[0] == llama.tokenizer.bos_id


def test_stop_strings_end_and_cut(llama: Model) -> None:
    whole = llama.generate([PROMPT], SamplingParams(max_tokens=24))[0].text
    stop = whole[7:10]
    cut = llama.generate([PROMPT], SamplingParams(max_tokens=24, stop=(stop,), logprobs=0))[0]
    assert cut.text == whole[: whole.find(stop)]
    assert cut.finish_reason == "stop"
    assert all(entry.text_offset < len(cut.text) for entry in cut.logprobs)


def test_the_end_of_text_ends(folder: Callable[..., Path]) -> None:
    model = open_model(folder("llama"))
    greedy = model.generate([PROMPT], SamplingParams(max_tokens=12))[0].token_ids
    eos = open_model(folder("llama", eos_token_id=int(greedy[3])))
    assert eos.eos_ids == {greedy[3]}
    ended = eos.generate([PROMPT], SamplingParams(max_tokens=12))[0]
    end = greedy.index(greedy[3])
    assert ended.token_ids == greedy[: end + 1]
    assert ended.finish_reason == "stop"
    assert ended.text == model.tokenizer.decode(greedy[:end])
    on = eos.generate([PROMPT], SamplingParams(max_tokens=12, ignore_eos=True))[0]
    assert on.token_ids == greedy
    assert on.finish_reason == "length"


def test_logprobs_and_echo_equal_transformers(llama: Model, reference: Callable[..., Any]) -> None:
    params = SamplingParams(max_tokens=6, temperature=0.7, seed=1, logprobs=3, echo=True)
    completion = llama.generate([PROMPT], params)[0]
    tokens = [*PROMPT, *completion.token_ids]
    with torch.no_grad():
        logprobs = reference("llama")(torch.tensor([tokens])).logits[0].log_softmax(-1)
    entries = completion.logprobs
    assert [entry.token_id for entry in entries] == tokens
    assert entries[0].logprob is None
    assert entries[0].top == ()
    for position, entry in enumerate(entries[1:]):
        assert entry.logprob == pytest.approx(float(logprobs[position, tokens[position + 1]]), abs=1e-5)
        best = logprobs[position].topk(3)
        assert [token for token, _, _ in entry.top] == best.indices.tolist()
        assert [value for _, _, value in entry.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert completion.text == llama.tokenizer.decode(tokens)
    for before, entry in pairwise(entries):
        broken = before.token.startswith("bytes:") or entry.token.startswith("bytes:")
        assert broken or completion.text[entry.text_offset :].startswith(entry.token)


def test_scoring_through_echo_alone(llama: Model) -> None:
    params = SamplingParams(max_tokens=0, echo=True, logprobs=1)
    completion = llama.generate([PROMPT], params)[0]
    assert completion.token_ids == ()
    assert completion.finish_reason == "length"
    assert [entry.token_id for entry in completion.logprobs] == list(PROMPT)
    assert llama.generate([PROMPT], SamplingParams(max_tokens=0))[0].text == ""


def test_a_long_prompt_in_chunks_gives_the_same(folder: Callable[..., Path], llama: Model) -> None:
    chunked = open_model(folder("llama"), max_sequences=3, max_batch_tokens=7)
    prompts = [tuple((13 * i + row) % 250 + 1 for i in range(20 + 17 * row)) for row in range(5)]
    params = SamplingParams(max_tokens=9, logprobs=0, echo=True)
    for ours, whole in zip(chunked.generate(prompts, params), llama.generate(prompts, params), strict=True):
        assert ours.token_ids == whole.token_ids
        assert [e.logprob for e in ours.logprobs[1:]] == pytest.approx(
            [e.logprob for e in whole.logprobs[1:]], abs=1e-5
        )


REFUSED: dict[str, tuple[tuple[int, ...], SamplingParams]] = {
    "together 133, but the model's context holds 128": ((1,) * 33, SamplingParams(max_tokens=100)),
    "the prompt is empty": ((), SamplingParams()),
    "token id 400 is unknown": ((3, 400), SamplingParams()),
    "token id -1 is unknown": ((-1,), SamplingParams()),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_answered_is_refused_in_words(message: str, llama: Model) -> None:
    engine = Engine(llama)
    prompt, params = REFUSED[message]
    with pytest.raises(InvalidInputError, match=message):
        engine.add(Request("a", prompt, params))
    assert not engine.has_work


def test_the_context_can_be_filled_to_its_last_token(llama: Model, reference: Callable[..., Any]) -> None:
    prompt = tuple(range(1, llama.max_length - 3))
    completion = llama.generate([prompt], SamplingParams(max_tokens=4))[0]
    wanted = reference("llama").generate(torch.tensor([prompt]), max_new_tokens=4, do_sample=False)
    assert completion.token_ids == tuple(wanted[0, len(prompt) :].tolist())


def test_two_requests_of_one_id(llama: Model) -> None:
    engine = Engine(llama)
    engine.add(Request("a", PROMPT, SamplingParams(max_tokens=2)))
    with pytest.raises(InvalidInputError, match="already on its way"):
        engine.add(Request("a", PROMPT))
    run(engine)
    engine.add(Request("a", PROMPT, SamplingParams(max_tokens=2)))


def test_cancelling_frees_at_once_and_changes_nobody_else(folder: Callable[..., Path]) -> None:
    model = open_model(folder("llama"), max_sequences=3)
    params = SamplingParams(max_tokens=20)
    prompts = {str(i): tuple((7 * i + j) % 200 + 1 for j in range(4 + 5 * i)) for i in range(6)}
    wanted = {name: model.generate([prompt], params)[0].text for name, prompt in prompts.items()}
    engine = Engine(model)
    for name, prompt in prompts.items():
        engine.add(Request(name, prompt, params))
    events = [event for _ in range(5) for event in engine.step()]
    assert engine.num_running == 3
    engine.cancel("0")  # its row is taken by the last one's
    engine.cancel("4")  # still waiting
    engine.cancel("nobody")
    assert engine.num_running == 2
    later = run(engine)
    assert {event.request_id for event in later} == {"1", "2", "3", "5"}
    for name in ("1", "2", "3", "5"):
        assert text_of([*events, *later], name) == wanted[name]
    assert engine.cache_tokens == 0


def test_memory_grows_by_need_and_never_beyond_the_bound(folder: Callable[..., Path]) -> None:
    model = open_model(folder("llama"), max_sequences=4)
    engine = Engine(model)
    engine.add(Request("short", PROMPT, SamplingParams(max_tokens=3)))
    engine.step()
    assert 0 < engine.cache_tokens <= 64
    for index in range(8):
        engine.add(Request(str(index), PROMPT, SamplingParams(max_tokens=120)))
    most = 0
    while engine.has_work:
        engine.step()
        most = max(most, engine.cache_tokens)
    assert 4 * 125 <= most <= 4 * model.max_length
    assert engine.cache_tokens == 0


@pytest.mark.parametrize("family", ["gemma2", "bloom", "mamba"])
def test_alone_too_only_the_last_logits_of_a_prompt_are_kept(family: str, folder: Callable[..., Path]) -> None:
    config = {"state_size": 4} if family == "mamba" else {}
    executor = open_model(folder(family, **config)).open_executor()
    whole = executor.forward([Chunk(0, PROMPT, 0, all_logits=True)])[0]
    last = executor.forward([Chunk(1, PROMPT, 0)])[0]
    assert torch.allclose(last, whole[-1:], atol=1e-5)
    assert last.untyped_storage().nbytes() == last.nbytes


def test_a_completion_keeps_the_space_after_its_prompt(llama: Model, tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"▁w{i}": i for i in range(llama.vocab_size)}, "▁w0"))
    words.decoder = tokenizers.decoders.Metaspace()
    words.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "▁w0"}', encoding="utf-8")
    model = replace(llama, tokenizer=open_tokenizer(tmp_path))
    told = model.generate([PROMPT], SamplingParams(max_tokens=3, ignore_eos=True))[0]
    assert told.text == "".join(f" w{token}" for token in told.token_ids)


def test_events_add_up(llama: Model) -> None:
    engine = Engine(llama)
    engine.add(Request("a", PROMPT, SamplingParams(max_tokens=6, n=2, temperature=1.0, seed=1)))
    events = run(engine)
    for choice in (0, 1):
        mine = [event for event in events if event.choice == choice]
        assert [event.completion_tokens for event in mine] == [1, 2, 3, 4, 5, 6]
        assert [event.finish_reason for event in mine] == [None] * 5 + ["length"]
        assert {event.prompt_tokens for event in mine} == {5}
    assert list(llama.stream(PROMPT, SamplingParams(max_tokens=2)))[-1].finish_reason == "length"
    assert engine.step() == []


LIMITS: dict[str, dict[str, int]] = {
    "maxSequences is 0": {"max_sequences": 0},
    "maxSequences is 8 and maxBatchTokens 4": {"max_sequences": 8, "max_batch_tokens": 4},
    "maxSequenceLength is 500, but the model": {"max_sequence_length": 500},
}


@pytest.mark.parametrize("message", LIMITS)
def test_limits_that_cannot_work(message: str, folder: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_model(folder("llama"), **LIMITS[message])
