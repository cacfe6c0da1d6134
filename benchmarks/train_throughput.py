"""Tokens per second of training the quickstart's model: our loop at ZeRO 0 to 3, a bare PyTorch loop, the HF Trainer.

Claim: at one worker stage 0 is at least 0.95 and stage 2 at least 0.88 of a bare loop, and both at least the HF
Trainer without DeepSpeed; at two workers the ratio to bare DistributedDataParallel is stated.

The contestants live in processes of their own, all on the same rows and weights, and take turns, block by block, so
that a busy machine slows all alike. A block is `--steps` optimizer steps; figures are medians over `--blocks`
blocks; CPU seconds stand beside wall seconds. Every contestant uses the fused AdamW (the fastest that torch has on
a CPU) except `bare, torch's defaults` and `HF Trainer`, which are as their users get them.

    python benchmarks/train_throughput.py [--blocks 9] [--steps 4] [--two-workers]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # DeepSpeed calls what torch 2.13 renamed

ROWS, LENGTH, VOCABULARY = 8, 256, 4096
CONFIG = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "tie_word_embeddings": True,
}
RATE, BETAS, DECAY, CLIP, SEED = 0.004, (0.9, 0.95), 0.1, 1.0, 17
Step = Callable[[int], float]


def make_rows(step: int, rank: int, world: int) -> Any:
    """Random ids in packed rows of about four documents each, as the loader gives them."""
    import numpy as np

    from modelyard.data import Rows

    chance = np.random.default_rng((SEED, step))
    ids = chance.integers(0, VOCABULARY, (ROWS, LENGTH + 1))
    positions = np.empty((ROWS, LENGTH), dtype=np.int64)
    segments = np.empty((ROWS, LENGTH), dtype=np.int64)
    for row in range(ROWS):
        cuts = [0, *sorted(chance.choice(np.arange(8, LENGTH - 8), 3, replace=False).tolist()), LENGTH]
        for number, (a, b) in enumerate(itertools.pairwise(cuts)):
            positions[row, a:b], segments[row, a:b] = np.arange(b - a), number
    mine = slice(ROWS * rank // world, ROWS * (rank + 1) // world)
    ledger = np.zeros((0, 5), dtype=np.int64)
    return Rows(ids[mine, :-1], ids[mine, 1:], positions[mine], segments[mine], ledger)


def make_module() -> Any:
    """The quickstart's model, the same weights everywhere."""
    from modelyard.model import TokenizerFacts, derive_config, random_module

    return random_module(derive_config("llama", CONFIG, TokenizerFacts(VOCABULARY, 0, 0, 0), LENGTH), seed=SEED).train()


def ours(stage: int, rank: int, world: int, port: int, threads: int) -> Step:
    """Our loop's parts over a DeepSpeed engine; a step is one pass of `loop.train`."""
    import torch

    from modelyard.train.batches import chance_seed, make_batch
    from modelyard.train.group import WorkerGroup
    from modelyard.train.loop import LoopParts, Position, StepRecord, train
    from modelyard.train.objectives import open_objective
    from modelyard.train.task import Place
    from modelyard.train.zero import EnginePlan, join_group, open_engine

    device = torch.device("cpu")
    place = Place(rank=rank, world=world, local_rank=rank, master_port=port, threads=threads)
    join_group(place, device, timeout_seconds=600)
    module = make_module()
    objective = open_objective("causal-lm", module, packing=True)
    plan = EnginePlan(
        zero_stage=stage, precision="fp32", micro_steps=1, micro_rows=ROWS // world, gradient_clipping=CLIP,
        peak_learning_rate=RATE, betas=BETAS, weight_decay=DECAY, activation_checkpointing=False, overrides={},
    )  # fmt: skip
    engine = open_engine(module, plan, world=world, device=device)
    group = WorkerGroup(rank, world, device)
    records: list[StepRecord] = []
    control = Path(tempfile.mkdtemp()) / "control.json"

    def batch(step: int) -> Any:
        return make_batch(make_rows(step - 1, rank, world), 1, device)

    def chance(step: int, micro_step: int) -> None:
        seed = chance_seed(SEED, step, rank, micro_step)
        torch.manual_seed(seed)
        random.seed(seed)

    def run(steps: int) -> float:
        done = records[-1].step if records else 0
        parts = LoopParts(
            total_steps=done + steps, evaluate_every=None, checkpoint_every=10**9, workers=group, engine=engine,
            objective=objective, batch=batch, learning_rate=lambda _: RATE, set_chance=chance,
            stop_wished=control.exists, evaluate=lambda: 0.0, checkpoint=lambda _: None,
            record=records.append, phase=lambda *_: None, non_finite=lambda *_: RuntimeError("not finite"),
        )  # fmt: skip
        train(parts, Position(done))
        return records[-1].loss

    return run


def bare(rank: int, world: int, port: int, *, fused: bool = True) -> Step:
    """A plain PyTorch loop; with two workers in DistributedDataParallel. Same rows, loss, clipping, decay groups."""
    import torch
    from torch.nn import functional

    module = make_module()
    model: Any = module
    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
        model = torch.nn.parallel.DistributedDataParallel(module)
    groups = [
        {"params": [p for p in module.parameters() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in module.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=fused or None)
    done = 0

    def run(steps: int) -> float:
        nonlocal done
        for _ in range(steps):
            rows = make_rows(done, rank, world)
            done += 1
            ids, labels = torch.from_numpy(rows.input_ids), torch.from_numpy(rows.labels)
            logits = model(input_ids=ids, position_ids=torch.from_numpy(rows.position_ids), use_cache=False).logits
            loss = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
            value = float(loss.detach())
        return value

    return run


def hf_trainer() -> Step:
    """transformers' Trainer without DeepSpeed, with its own defaults; labels are its own shift of the same ids."""
    import torch
    import transformers

    module = make_module()
    module.config.use_cache = False  # with its default, a cache, transformers builds no mask between packed documents
    done = 0

    class Data(torch.utils.data.IterableDataset):  # type: ignore[type-arg,misc]
        def __iter__(self) -> Iterator[dict[str, Any]]:
            step = done
            while True:
                rows = make_rows(step, 0, 1)
                step += 1
                for row in range(ROWS):
                    ids = torch.from_numpy(rows.input_ids[row])
                    yield {"input_ids": ids, "labels": ids, "position_ids": torch.from_numpy(rows.position_ids[row])}

    folder = tempfile.mkdtemp()

    def run(steps: int) -> float:
        nonlocal done
        arguments = transformers.TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=ROWS, learning_rate=RATE,
            weight_decay=DECAY, max_grad_norm=CLIP, adam_beta1=BETAS[0], adam_beta2=BETAS[1], save_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=True, logging_strategy="no", lr_scheduler_type="constant",
        )  # fmt: skip
        trainer = transformers.Trainer(model=module, args=arguments, train_dataset=Data())
        clock = _StepClock()
        trainer.add_callback(clock.callback())
        result = trainer.train()
        done += steps
        run.seconds, run.cpu = clock.seconds, clock.cpu  # type: ignore[attr-defined]
        return float(result.training_loss)

    return run


class _StepClock:
    """Times the Trainer from its first step's begin to its last step's end: its set-up is not its throughput."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def callback(self) -> Any:
        import transformers

        clock = self

        class Callback(transformers.TrainerCallback):
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                self.began, self.cpu_began = time.perf_counter(), time.process_time()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.seconds = time.perf_counter() - self.began
                clock.cpu = time.process_time() - self.cpu_began

        return Callback()


@dataclass(frozen=True)
class Contestant:
    """Someone who trains: `world` processes of `threads` threads."""

    name: str
    world: int
    open: Callable[[int, int], Step]  # (rank, port)


def contestants(world: int, threads: int) -> list[Contestant]:
    """Who takes part at that many workers."""
    who = [
        Contestant("bare" if world == 1 else "bare DDP", world, lambda rank, port: bare(rank, world, port)),
        *(
            Contestant(f"Modelyard, stage {s}", world, lambda rank, port, s=s: ours(s, rank, world, port, threads))
            for s in (0, 1, 2, 3)
        ),
    ]
    if world == 1:
        who.append(Contestant("bare, torch's defaults", 1, lambda rank, port: bare(rank, 1, port, fused=False)))
        who.append(Contestant("HF Trainer", 1, lambda rank, port: hf_trainer()))
    return who


def serve(index: int, world: int, rank: int, port: int, threads: int, pipe: Any) -> None:
    """A contestant's process: runs a block when asked, tells seconds, CPU seconds and loss."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # DeepSpeed and the Trainer talk
    import torch

    torch.set_num_threads(threads)
    run = contestants(world, threads)[index].open(rank, port)
    pipe.send("ready")
    while steps := pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        loss = run(steps)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        pipe.send((getattr(run, "seconds", seconds), getattr(run, "cpu", cpu_seconds), loss))


def race(world: int, threads: int, blocks: int, steps: int) -> dict[str, dict[str, Any]]:
    """Let all contestants take turns; seconds per block, by name."""
    context = multiprocessing.get_context("spawn")
    seats = []
    for index, who in enumerate(contestants(world, threads)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pipes = []
        for rank in range(world):
            pipe, other = context.Pipe()
            context.Process(target=serve, args=(index, world, rank, port, threads, other), daemon=True).start()
            pipes.append(pipe)
        for pipe in pipes:
            pipe.recv()
        seats.append((who.name, pipes, [], []))
    losses = {}
    for block in range(-2, blocks):  # two to warm up
        for name, pipes, walls, cpus in random.Random(block).sample(seats, len(seats)):
            for pipe in pipes:
                pipe.send(steps)
            answers = [pipe.recv() for pipe in pipes]
            if block >= 0:
                walls.append(max(answer[0] for answer in answers))
                cpus.append(sum(answer[1] for answer in answers))
            losses[name] = answers[0][2]
    for _, pipes, _, _ in seats:
        for pipe in pipes:
            pipe.send(0)
    return {
        name: {"walls": walls, "cpu": statistics.median(cpus), "loss": losses[name]} for name, _, walls, cpus in seats
    }


def table(results: dict[str, dict[str, Any]], steps: int) -> str:
    """Markdown: tokens per second, the ratio to the first (median of paired blocks), CPU seconds per block."""
    base = next(iter(results.values()))
    lines = [
        "| loop | tokens/s | of the first (median of pairs) | quartiles | CPU s a block |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        ratios = sorted(b / a for a, b in zip(result["walls"], base["walls"], strict=True))
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        speed = ROWS * LENGTH * steps / statistics.median(result["walls"])
        lines.append(
            f"| {name} | {speed:,.0f} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} "
            f"| {result['cpu']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Race at one worker (2 threads), and at two (1 thread each) when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--two-workers", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = race(1, options.threads, options.blocks, options.steps)
    print(f"1 worker, {options.threads} threads, {options.blocks} blocks of {options.steps} steps, interleaved\n")
    print(table(results, options.steps))
    if options.two_workers:
        pair = race(2, max(1, options.threads // 2), options.blocks, options.steps)
        print(f"\n2 workers, {max(1, options.threads // 2)} thread each\n\n{table(pair, options.steps)}")
        results |= {f"2 workers: {name}": result for name, result in pair.items()}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
