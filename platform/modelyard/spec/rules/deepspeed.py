"""Rules of `sharding.deepspeed`: DeepSpeed's own keys, of which none may decide what a field of the manifest does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.spec.documents import Location
from modelyard.spec.rules.objections import Objection
from modelyard.spec.wording import nearest, shown

# Keys that a field decides, with that field.
DECIDED = {
    "train_batch_size": "optimization.globalBatchTokens",
    "train_micro_batch_size_per_gpu": "optimization.globalBatchTokens",
    "gradient_accumulation_steps": "optimization.globalBatchTokens",
    "optimizer": "optimization.optimizer",
    "scheduler": "optimization.schedule",
    "gradient_clipping": "optimization.gradientClipping",
    "fp16": "optimization.precision",
    "bf16": "optimization.precision",
    "torch_autocast": "optimization.precision",
    "amp": "optimization.precision",
    "activation_checkpointing": "sharding.activationCheckpointing",
    "sequence_parallel_size": "sharding.sequenceParallel",
    "seed": "optimization.seed",
    "checkpoint": "checkpoint",
    "zero_optimization.stage": "sharding.zeroStage",
    "zero_optimization.offload_optimizer": "sharding.offload.optimizer",
    "zero_optimization.offload_param": "sharding.offload.parameters",
    "zero_optimization.cpu_offload": "sharding.offload.optimizer",
    "zero_optimization.cpu_offload_param": "sharding.offload.parameters",
}
_SIZE, _FLAG = "a whole number, 1 or more", "true or false"
# Keys that change speed or memory and nothing else; each with what it takes. Read off DeepSpeed 0.19.8.
ALLOWED = {
    "communication_data_type": "text",
    "wall_clock_breakdown": _FLAG,
    "memory_breakdown": _FLAG,
    "dump_state": _FLAG,
    "zero_optimization.contiguous_gradients": _FLAG,
    "zero_optimization.reduce_scatter": _FLAG,
    "zero_optimization.overlap_comm": _FLAG,
    "zero_optimization.allgather_partitions": _FLAG,
    "zero_optimization.reduce_bucket_size": _SIZE,
    "zero_optimization.allgather_bucket_size": _SIZE,
    "zero_optimization.sub_group_size": _SIZE,
    "zero_optimization.stage3_prefetch_bucket_size": _SIZE,
    "zero_optimization.stage3_param_persistence_threshold": _SIZE,
    "zero_optimization.stage3_max_live_parameters": _SIZE,
    "zero_optimization.stage3_max_reuse_distance": _SIZE,
    "zero_optimization.round_robin_gradients": _FLAG,
    "zero_optimization.log_trace_cache_warnings": _FLAG,
}
_FIX = "known: {}"


def check_deepspeed(overrides: Mapping[str, Any], place: Location) -> Iterator[Objection]:
    """Only keys of the list, with values of their type."""
    for key, value in overrides.items():
        if key == "zero_optimization" and isinstance(value, Mapping):
            for inner, item in value.items():
                yield from _check(f"{key}.{inner}", item, (*place, key, inner))
        else:
            yield from _check(key, value, (*place, key))


def _check(name: str, value: Any, place: Location) -> Iterator[Objection]:
    if name in DECIDED:
        yield Objection(place, f"is decided by spec.{DECIDED[name]}", f"take it out and set spec.{DECIDED[name]}", True)
    elif name not in ALLOWED:
        near = nearest(name, list(ALLOWED))
        short = name.rpartition(".")[2]
        fix = f"did you mean {near.rpartition('.')[2]}?" if near else _FIX.format(", ".join(ALLOWED))
        yield Objection(place, f"{short} is not a key of DeepSpeed's that may be set here", fix, True)
    elif not _fits(value, ALLOWED[name]):
        yield Objection(place, f"is {shown(value)}, must be {ALLOWED[name]}", "as DeepSpeed's documentation has it")


def _fits(value: Any, words: str) -> bool:
    if words == _FLAG:
        return isinstance(value, bool)
    if words == _SIZE:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return isinstance(value, str)
