"""The gateway over a real engine on a real port, asked by the official client."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
import transformers

from modelyard.serve.gateway import build_app
from modelyard.serve.protocol import parse_completion
from support.gateways import Running, running_gateway, wait_until
from support.tiny_models import write_tiny_model

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CONTEXT = 128
PROMPTS = ["The loop is", "def decide(", "日本語", "Return the"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_tiny_model(tmp_path_factory.mktemp("models") / "plain", context=CONTEXT)


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Running]:
    with running_gateway(folder) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def alone(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def greedy_alone(alone: Any, tokenizer: Any, prompt: str, num_tokens: int) -> str:
    ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
    made = alone.generate(torch.tensor([ids]), max_new_tokens=num_tokens, do_sample=False, pad_token_id=0)
    return str(tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True))


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny@3").id == "tiny"


def test_every_answer_names_its_version(client: openai.OpenAI, gateway: Running) -> None:
    answer = client.completions.with_raw_response.create(model="tiny@3", prompt="a", max_tokens=1)
    assert answer.headers["x-modelyard-version"] == "tiny@3"
    assert answer.parse().system_fingerprint == "tiny@3"
    for path in ("/health", "/metrics", "/v1/models", "/nowhere"):
        assert httpx.get(gateway.url + path).headers["x-modelyard-version"] == "tiny@3"


def test_greedy_equals_transformers_alone(client: openai.OpenAI, alone: Any, tokenizer: Any) -> None:
    answer = client.completions.create(model="tiny", prompt=PROMPTS, max_tokens=24, temperature=0)
    expected = [greedy_alone(alone, tokenizer, prompt, 24) for prompt in PROMPTS]
    assert [choice.text for choice in answer.choices] == expected


def test_streams_that_come_together_equal_those_alone(client: openai.OpenAI) -> None:
    def ask(prompt: str) -> str:
        chunks = client.completions.create(model="tiny", prompt=prompt, max_tokens=24, temperature=0, stream=True)
        return "".join(chunk.choices[0].text for chunk in chunks)

    expected = [ask(prompt) for prompt in PROMPTS * 2]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, PROMPTS * 2)) == expected


def test_a_stream_has_whole_characters_usage_and_an_end(client: openai.OpenAI, gateway: Running) -> None:
    body = {"model": "tiny", "prompt": "日", "max_tokens": 60, "temperature": 0.9, "seed": 3, "ignore_eos": True}
    whole = httpx.post(f"{gateway.url}/v1/completions", json=body, timeout=60).json()
    request = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", f"{gateway.url}/v1/completions", json=request, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        raw = b"".join(answer.iter_raw())
    events = raw.decode("ascii").split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1])
    assert text == whole["choices"][0]["text"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == 60
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]


def test_seeds_repeat_and_choices_differ(client: openai.OpenAI) -> None:
    def ask(seed: int) -> list[str]:
        answer = client.completions.create(model="tiny", prompt="The", max_tokens=12, seed=seed, n=3, temperature=1.5)
        return [choice.text for choice in answer.choices]

    assert ask(1) == ask(1)
    assert ask(1) != ask(2)
    assert len(set(ask(1))) == 3


def test_choices_of_many_prompts_are_prompt_major(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=PROMPTS[:2], n=2, max_tokens=3, temperature=0, echo=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    expected = [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1]]
    assert all(choice.text.startswith(prompt) for choice, prompt in zip(answer.choices, expected, strict=True))


def test_stop_strings_end_the_text_before_them(client: openai.OpenAI) -> None:
    text = client.completions.create(model="tiny", prompt="The", max_tokens=30, temperature=0).choices[0].text
    stop = text[10:13]
    answer = client.completions.create(model="tiny", prompt="The", max_tokens=30, temperature=0, stop=[stop, "\x00"])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].text == text[: text.index(stop)]
    chunks = client.completions.create(model="tiny", prompt="The", max_tokens=30, temperature=0, stop=stop, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == text[: text.index(stop)]


def test_harness_requests_score_prompts_as_transformers_does(gateway: Running, alone: Any, tokenizer: Any) -> None:
    """What lm-evaluation-harness sends for loglikelihoods: token ids, echo, logprobs, one token that it throws away."""
    prompts = [[tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)] for prompt in PROMPTS]
    body = {"model": "tiny", "prompt": prompts, "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0,
            "seed": 1234}  # fmt: skip
    answer = httpx.post(f"{gateway.url}/v1/completions", json=body, timeout=60).raise_for_status().json()
    for choice, ids in zip(answer["choices"], prompts, strict=True):
        with torch.no_grad():
            table = torch.log_softmax(alone(torch.tensor([ids])).logits[0].double(), -1)
        told = choice["logprobs"]
        assert told["token_logprobs"][0] is None
        for place in range(1, len(ids)):
            expected = table[place - 1, ids[place]].item()
            assert told["token_logprobs"][place] == pytest.approx(expected, abs=1e-5)
            assert max(told["top_logprobs"][place].values()) == pytest.approx(table[place - 1].max().item(), abs=1e-5)
        assert len(told["tokens"]) == len(told["text_offset"]) == len(ids) + 1


def test_scoring_alone_generates_nothing(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="The loop", max_tokens=0, echo=True, logprobs=0)
    assert answer.choices[0].text == "The loop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert len(logprobs.tokens) == answer.usage.prompt_tokens


@pytest.mark.parametrize(
    ("fields", "status", "code", "words"),
    [
        ({"model": "other"}, 404, "model_not_found", "'other' is not served here"),
        ({"prompt": [100000]}, 400, None, "token id 100000 is unknown"),
        ({"prompt": [-1]}, 400, None, "token id -1 is unknown"),
        ({"prompt": []}, 400, None, "not empty"),
        ({"prompt": "word " * 500}, 400, "context_length_exceeded", f"context holds {CONTEXT}"),
        ({"max_tokens": CONTEXT}, 400, "context_length_exceeded", f"context holds {CONTEXT}"),
        ({"temperature": 3}, 400, None, "temperature"),
        ({"presence_penalty": 1}, 400, None, "not built"),
    ],
)
def test_refusals_in_openai_shape(
    client: openai.OpenAI, fields: dict[str, Any], status: int, code: str | None, words: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.completions.create(**{"model": "tiny", "prompt": "a", **fields})
    assert caught.value.status_code == status
    body = caught.value.body
    assert isinstance(body, dict)
    assert set(body) == {"message", "type", "param", "code"}
    assert body["code"] == code
    assert words in body["message"]


def test_a_refusal_of_a_stream_has_its_own_status(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model="tiny", prompt="a", max_tokens=CONTEXT, stream=True)


def test_bodies_and_routes_that_are_wrong(gateway: Running) -> None:
    post = f"{gateway.url}/v1/completions"
    assert httpx.post(post, content=b"{").json()["error"]["code"] == "invalid_json"
    large = httpx.post(post, content=b" " * (9 * 1024 * 1024))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    assert httpx.get(post).status_code == 405
    assert "no such route" in httpx.get(f"{gateway.url}/v1/nothing").json()["error"]["message"]


def test_long_bodies_are_parsed_beside_the_event_loop(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def parse(body: bytes) -> Any:
        threads.append(threading.current_thread())
        return parse_completion(body)

    monkeypatch.setattr("modelyard.serve.gateway.parse_completion", parse)
    for words in (1, 40_000):
        httpx.post(f"{gateway.url}/v1/completions", json={"model": "tiny", "prompt": "a " * words, "max_tokens": 1})
    short, long = threads
    assert short is not long


def test_chat_without_a_template_says_what_to_do(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"has no chat template.*Use /v1/completions"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])


def test_a_client_that_hangs_up_frees_its_place_at_once(gateway: Running) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    for stream in (True, False):
        body = json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 120, "n": 64, "ignore_eos": True,
                           "stream": stream}).encode()  # fmt: skip
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            assert wait_until(lambda: gateway.load().running > 0)
        assert wait_until(lambda: gateway.load().running == 0 and gateway.load().waiting == 0, seconds=2)


def test_a_client_that_hangs_up_amid_its_body_is_no_crash(gateway: Running) -> None:
    received = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "query_string": b""}
    asyncio.run(build_app(gateway.service)(scope, receive, send))  # a crash would be raised here, for the log
    assert sent[0]["status"] == 499


def test_metrics_carry_vllms_names(gateway: Running, client: openai.OpenAI) -> None:
    def read(name: str) -> float:
        lines = httpx.get(f"{gateway.url}/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f'{name}{{model_name="tiny"')).split()[-1])

    names = ["vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_count",
             "vllm:e2e_request_latency_seconds_count"]  # fmt: skip
    before = [read(name) for name in names]
    client.completions.create(model="tiny", prompt=[[1, 2, 3]], max_tokens=5, n=2, extra_body={"ignore_eos": True})
    assert [read(name) - value for name, value in zip(names, before, strict=True)] == [3, 10, 2, 2]
    assert read("vllm:num_requests_running") == read("vllm:num_requests_waiting") == 0


def test_a_full_queue_answers_429_and_says_when(folder: Path) -> None:
    with running_gateway(folder, max_sequences=1) as gateway, ThreadPoolExecutor(1) as pool:
        body = {"model": "tiny", "prompt": "a", "max_tokens": 100, "n": 12, "ignore_eos": True}
        busy = pool.submit(httpx.post, f"{gateway.url}/v1/completions", json=body, timeout=60)
        assert wait_until(lambda: gateway.load().waiting >= 4)
        refused = httpx.post(f"{gateway.url}/v1/completions", json={"model": "tiny", "prompt": "a"})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert busy.result().status_code == 200


def test_loading_and_draining_answer_503(folder: Path) -> None:
    with running_gateway(folder, load=False) as gateway:
        asked = httpx.post(f"{gateway.url}/v1/completions", json={"model": "tiny", "prompt": "a"})
        for answer in (httpx.get(f"{gateway.url}/health"), asked):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_loading")
            assert "retry-after" in answer.headers
        assert httpx.get(f"{gateway.url}/metrics").status_code == 200


def test_draining_lets_streams_finish_and_refuses_new_ones(folder: Path) -> None:
    with running_gateway(folder) as gateway:
        request = {"model": "tiny", "prompt": "a", "max_tokens": 120, "stream": True, "ignore_eos": True, "n": 8}
        with httpx.stream("POST", f"{gateway.url}/v1/completions", json=request, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            drained = threading.Thread(target=gateway.drain, args=(60,))
            drained.start()
            assert wait_until(lambda: httpx.get(f"{gateway.url}/health").status_code == 503)
            refused = httpx.post(f"{gateway.url}/v1/completions", json={"model": "tiny", "prompt": "a"})
            assert refused.json()["error"]["code"] == "model_draining"
            assert [line for line in lines if line][-1] == "data: [DONE]"
        drained.join()


def test_a_drain_that_takes_too_long_ends_streams_in_words(folder: Path) -> None:
    with running_gateway(folder) as gateway:
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
        chunks = iter(
            client.completions.create(
                model="tiny", prompt="a", max_tokens=120, n=128, stream=True, extra_body={"ignore_eos": True}
            )
        )
        next(chunks)
        gateway.drain(0)
        with pytest.raises(openai.APIError, match="shutting down"):
            list(chunks)


def test_a_broken_engine_is_told_and_makes_the_replica_unhealthy(folder: Path) -> None:
    with running_gateway(folder) as gateway:
        stepper = gateway.service._stepper
        assert stepper is not None

        def fail() -> Any:
            raise RuntimeError("the device is gone")

        stepper._engine.step = fail  # type: ignore[method-assign]
        answer = httpx.post(f"{gateway.url}/v1/completions", json={"model": "tiny", "prompt": "a"})
        assert answer.status_code == 500
        assert "the device is gone" in answer.json()["error"]["message"]
        assert httpx.get(f"{gateway.url}/health").json()["error"]["code"] == "model_broken"


def test_chat(folder: Path, tmp_path: Path, alone: Any, tokenizer: Any) -> None:
    spoken = tmp_path / "chat"
    spoken.mkdir()
    for file in folder.iterdir():
        (spoken / file.name).symlink_to(file)
    (spoken / "chat_template.jinja").write_text(TEMPLATE)
    with running_gateway(spoken) as gateway:
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
        asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
        answer = client.chat.completions.create(**asked, max_tokens=12, logprobs=True, top_logprobs=2)
        turn = f"{tokenizer.bos_token}<user>hi{tokenizer.eos_token}\n<assistant>"
        ids = tokenizer.encode(turn, add_special_tokens=False)
        assert ids.count(tokenizer.eos_token_id) >= 1, "the template's special tokens are one token each"
        made = alone.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        expected = tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True)
        choice = answer.choices[0]
        assert choice.message.role == "assistant"
        assert choice.message.content == expected
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert b"".join(bytes(one.bytes or []) for one in choice.logprobs.content).decode(errors="replace") == expected
        assert all(len(one.top_logprobs) == 2 for one in choice.logprobs.content)
        chunks = list(client.chat.completions.create(**asked, max_completion_tokens=12, stream=True))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
        assert chunks[-1].choices[0].finish_reason in ("stop", "length")
        asked["messages"][0]["content"] += tokenizer.eos_token
        forged = client.chat.completions.create(**asked, max_tokens=1)
        assert forged.usage is not None
        assert forged.usage.prompt_tokens > len(ids) + 1, "a message ends no turn"


def test_slow_readers_lose_nothing(gateway: Running) -> None:
    request = {"model": "tiny", "prompt": "a", "max_tokens": 100, "stream": True, "ignore_eos": True, "temperature": 0}
    with httpx.stream("POST", f"{gateway.url}/v1/completions", json=request, timeout=60) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        assert wait_until(lambda: gateway.load().running == 0)  # generated in full while nobody read
        assert [first, *(line for line in lines if line)][-1] == "data: [DONE]"
