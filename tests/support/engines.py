"""Real DeepSpeed engines over gloo without Ray: an awkward little model, trained by a few forked ranks.

Ranks are forked from a server that has torch and DeepSpeed imported already, so a group of three starts in a second.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import Any

QUIET = {"DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
VOCABULARY, WIDTH, ROWS, LENGTH = (
    61,
    9,
    6,
    5,
)  # 6 rows: divisible by 1, 2 and 3 workers; odd sizes, so shares are uneven
WAIT_SECONDS = 240  # for all ranks of one launch; far more than they need, a hang ends the test and not the day


def launch(world: int, target: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run `target(*arguments)` on `world` ranks with a process group and return their answers by rank.

    A rank that raises ends the launch with its traceback; one that dies is answered by its exit code.
    """
    os.environ.update(QUIET)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "deepspeed", "modelyard.checkpoint.zero"])
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    processes = [
        context.Process(target=_rank, args=((rank, world, port), pipes[rank][1], target, arguments), daemon=True)
        for rank in range(world)
    ]
    for process, (_, sender) in zip(processes, pipes, strict=True):
        process.start()
        sender.close()
    try:
        answers = [_answer(process, receiver) for process, (receiver, _) in zip(processes, pipes, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.join()
    failed = [answer for answer in answers if isinstance(answer, RuntimeError)]
    if failed:
        raise failed[0]
    return answers


def _answer(process: Any, receiver: Any) -> Any:
    """What a rank sent; the negative signal of one that died before it could."""
    try:
        if not receiver.poll(WAIT_SECONDS):
            return RuntimeError(f"a rank did not answer within {WAIT_SECONDS} s")
        return receiver.recv()
    except EOFError:
        process.join()
        return process.exitcode


def _rank(place: tuple[int, int, int], sender: Any, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    rank, world, port = place
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_SIZE=str(world),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), **QUIET,
    )  # fmt: skip
    try:
        import deepspeed
        import torch

        torch.set_num_threads(1)
        deepspeed.logger.setLevel("ERROR")
        deepspeed.ops.__compatible_ops__ = {}  # no JIT build of the shared-memory collectives
        deepspeed.init_distributed(dist_backend="gloo", verbose=False)
        sender.send(target(*arguments))
    except BaseException:
        sender.send(RuntimeError(f"rank {rank} of {world}:\n{traceback.format_exc()}"))


def build_model() -> Any:
    """Tied embeddings, a frozen parameter, a persistent buffer that moves, a hidden buffer, a one-element parameter."""
    import torch
    from torch import nn

    class Awkward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(VOCABULARY, WIDTH)
            self.frozen = nn.Linear(WIDTH, WIDTH, bias=False)
            self.body = nn.Sequential(nn.Linear(WIDTH, 17), nn.GELU(), nn.Linear(17, WIDTH), nn.LayerNorm(WIDTH))
            self.scale = nn.Parameter(torch.ones(1))
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
            self.head.weight = self.embed.weight
            self.frozen.weight.requires_grad_(False)
            self.register_buffer("seen", torch.zeros(3, dtype=torch.int64))
            self.register_buffer("hidden", torch.ones(4), persistent=False)

        def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:  # noqa: N803 - shape suffix
            self.seen += 1
            x_btd = self.embed(tokens_BT)
            return self.head(self.body(x_btd + torch.tanh(self.frozen(x_btd))) * self.scale)

    torch.manual_seed(3)
    return Awkward()


def build_engine(
    stage: int,
    *,
    precision: str = "fp32",
    optimizer: str = "adamw",
    accumulate: int = 1,
    partitioned: bool = False,
    extra: dict[str, Any] | None = None,
) -> Any:
    """An engine with two parameter groups (decay, no decay) and a schedule; `partitioned`: made under zero.Init.

    Stage 3 replaces torch's linear for the rest of the process by one that rounds otherwise; it is put back here, so
    that what ran before in this process changes no bit.
    """
    import deepspeed
    import torch
    from deepspeed import comm as dist
    from deepspeed.runtime.zero.partition_parameters import InsertPostInitMethodToModuleSubClasses as Patched

    config = {
        "train_batch_size": ROWS,
        "train_micro_batch_size_per_gpu": ROWS // dist.get_world_size() // accumulate,
        "gradient_accumulation_steps": accumulate,
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 20, **(extra or {})},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": precision == "bf16"},
    }
    torch.nn.functional.linear = getattr(Patched, "linear_bk", torch.nn.functional.linear)
    with deepspeed.zero.Init(config_dict_or_path=config, enabled=partitioned):
        model = build_model()
    groups: list[dict[str, Any]] = [{"params": [], "weight_decay": 0.1}, {"params": [], "weight_decay": 0.0}]
    for p in model.parameters():
        if p.requires_grad:
            groups[len(getattr(p, "ds_shape", p.shape)) <= 1]["params"].append(p)
    if optimizer == "adamw":
        base: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
    else:
        base = torch.optim.SGD(groups, lr=1e-2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(base, lambda step: 1 / (1 + 0.05 * step))
    engine, *_ = deepspeed.initialize(
        model=model, config=config, optimizer=base, lr_scheduler=schedule, dist_init_required=False
    )
    return engine


def train(engine: Any, start: int, stop: int) -> list[float]:
    """Steps start+1 to stop on batches that are a function of the step alone; the global mean loss of each."""
    import torch
    from deepspeed import comm as dist
    from torch.nn.functional import cross_entropy

    losses, rank, world = [], dist.get_rank(), dist.get_world_size()
    for step in range(start + 1, stop + 1):
        tokens = torch.randint(VOCABULARY, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(step))
        mine = tokens[rank * ROWS // world : (rank + 1) * ROWS // world]
        total = torch.zeros(1)
        for micro in mine.chunk(engine.gradient_accumulation_steps()):
            logits = engine(micro[:, :-1])
            loss = cross_entropy(logits.float().flatten(0, 1), micro[:, 1:].flatten())
            engine.backward(loss)
            engine.step()
            total += loss.detach().float() / engine.gradient_accumulation_steps() / world
        dist.all_reduce(total)
        losses.append(float(total))
    return losses


def live_digests(state: Any) -> dict[str, str]:
    """A digest of each range that this rank trains with."""
    from modelyard.checkpoint.fragments import host_bytes

    return {f.range.key: hashlib.sha256(host_bytes(f.tensor)).hexdigest()[:16] for f in state.live()}
