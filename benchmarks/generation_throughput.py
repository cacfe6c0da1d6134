"""Generation throughput: 1, 8 and 16 sequences through `modelyard.infer`, beside transformers' own `generate`.

Peers: `generate` one prompt at a time, and `generate` on a static batch of the same prompts (all of one length: the
best case of a static batch, since none waits for another). The model is random, of the quickstart's size by default.
All are interleaved in one process, each round in another order; ratios are of medians over the rounds.

    python benchmarks/generation_throughput.py [--rounds 7] [--threads 2] [--width 192 --layers 4]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from modelyard.infer import Model, SamplingParams, open_model
from modelyard.text import train_tokenizer

Run = Callable[[], int]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        folder = _write_model(Path(scratch), options)
        runs = _runs(open_model(folder), transformers.AutoModelForCausalLM.from_pretrained(folder).eval(), options)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    tokens: dict[str, int] = {}
    rnd = random.Random(0)
    for round_ in range(options.rounds + 1):
        for name in rnd.sample(list(runs), len(runs)):
            began, cpu = time.perf_counter(), time.process_time()
            tokens[name] = runs[name]()
            if round_:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - cpu)
    rates = {name: [tokens[name] / s for s in seconds[name]] for name in runs}
    _print(rates, processor, tokens)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {
        "rounds": 7, "threads": 2, "width": 192, "layers": 4, "heads": 6, "vocabulary": 4096, "prompt": 32, "new": 48,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def _write_model(folder: Path, options: argparse.Namespace) -> Path:
    """A random Llama with a throw-away tokenizer; ids are fed, so the tokenizer's size does not matter."""

    class Bpe:
        algorithm, vocab_size = "bpe", 300

    train_tokenizer(["the loop is the table of contents"], Bpe(), folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=options.vocabulary, hidden_size=options.width, intermediate_size=options.width * 8 // 3,
        num_hidden_layers=options.layers, num_attention_heads=options.heads, tie_word_embeddings=True,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _runs(ours: Model, theirs: Any, options: argparse.Namespace) -> dict[str, Run]:
    rnd = random.Random(1)
    prompts = [[rnd.randrange(1, options.vocabulary) for _ in range(options.prompt)] for _ in range(16)]
    params = SamplingParams(max_tokens=options.new, ignore_eos=True)

    def modelyard(count: int) -> int:
        return sum(len(completion.token_ids) for completion in ours.generate(prompts[:count], params))

    def static(batch: Sequence[Sequence[int]]) -> int:
        ids = torch.tensor(batch)
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=options.new, min_new_tokens=options.new,
            do_sample=False,
        )  # fmt: skip
        return int((out.shape[1] - ids.shape[1]) * len(batch))

    return {
        "modelyard 1": lambda: modelyard(1),
        "modelyard 8": lambda: modelyard(8),
        "modelyard 16": lambda: modelyard(16),
        "generate 1": lambda: static(prompts[:1]),
        "generate 8, one by one": lambda: sum(static([prompt]) for prompt in prompts[:8]),
        "generate 8, static batch": lambda: static(prompts[:8]),
        "generate 16, static batch": lambda: static(prompts),
    }


def _print(rates: dict[str, list[float]], processor: dict[str, list[float]], tokens: dict[str, int]) -> None:
    median = {name: statistics.median(values) for name, values in rates.items()}
    print("| what | tokens/s, median | lowest to highest | CPU ms a token |")
    print("| --- | ---: | ---: | ---: |")
    for name, values in rates.items():
        cpu = 1000 * statistics.median(processor[name]) / tokens[name]
        print(f"| {name} | {median[name]:.0f} | {min(values):.0f} to {max(values):.0f} | {cpu:.2f} |")
    ratios = {
        "8 together over 1 alone": median["modelyard 8"] / median["modelyard 1"],
        "16 together over 1 alone": median["modelyard 16"] / median["modelyard 1"],
        "1 alone over generate": median["modelyard 1"] / median["generate 1"],
        "8 over generate one by one": median["modelyard 8"] / median["generate 8, one by one"],
        "8 over a static batch": median["modelyard 8"] / median["generate 8, static batch"],
        "16 over a static batch": median["modelyard 16"] / median["generate 16, static batch"],
    }
    print("\n" + "\n".join(f"- {name}: {ratio:.2f} x" for name, ratio in ratios.items()))
    print("\n" + json.dumps({"tokensPerSecond": median, "ratios": ratios}))


if __name__ == "__main__":
    main()
