"""A DeepSpeed engine seen as fragments: where each parameter's master and optimizer states lie, at every ZeRO stage.

The only file of this room that knows DeepSpeed (0.19.8; the places are its internals, found by reading it). Pure data
parallelism; optimizers that keep tensors of the parameter's shape and one step counter (Adam's family, SGD). Refused
in words: optimizers that keep anything else, DeepSpeed's fused one-flat optimizer at stage 0 in 16 bit.
Not covered: NVMe offload, tensor or expert parallelism.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from deepspeed import comm as dist

from modelyard.checkpoint.fragments import DTYPES, Fragment
from modelyard.checkpoint.ranges import BUFFER, FROZEN, MASTER, Range
from modelyard.errors import InvalidInputError, TrainingError, UsageError
from modelyard.records import TensorRecord

Scalars = dict[str, Any]
_ADAM_FAMILY = {"Adam", "AdamW", "FusedAdam", "DeepSpeedCPUAdam"}  # the same states under the same names


def engine_state(engine: Any) -> EngineState:
    """The training state of an engine fresh from `deepspeed.initialize`, ready to be saved or restored."""
    if engine.global_steps == 0:
        settle(engine)
    return EngineState(engine)


def settle(engine: Any) -> None:
    """Undo the optimizer step on zero gradients that DeepSpeed's 16 bit optimizer takes in its constructor.

    At stage 0 in 16 bit it decays the fp32 masters and counts a step before the first batch. Elsewhere nothing to do.
    """
    if hasattr(engine.optimizer, "fp32_groups"):
        engine.optimizer.refresh_fp32_params()
        _base(engine).state.clear()


@dataclass(frozen=True)
class ProcessRanks:
    """The default process group as `Ranks`: messages travel as bytes in tensors, nothing is pickled."""

    rank: int
    world: int
    device: torch.device

    def gather(self, message: bytes) -> list[bytes]:
        """Every rank's message; a barrier."""
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([len(message)], dtype=torch.int64, device=self.device))
        width = max(1, *(int(size) for size in sizes))
        own = torch.frombuffer(bytearray(message.ljust(width)), dtype=torch.uint8).to(self.device)
        texts = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(texts, own)
        return [bytes(text.cpu().numpy())[: int(size)] for text, size in zip(texts, sizes, strict=True)]


def process_ranks() -> ProcessRanks:
    """The default process group (after `deepspeed.init_distributed`)."""
    on_device = torch.distributed.get_backend() == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if on_device else torch.device("cpu")
    return ProcessRanks(dist.get_rank(), dist.get_world_size(), device)


@dataclass(frozen=True)
class _Place:
    """This rank trains name[start:start+count] at flat[offset:offset+count]."""

    name: str
    start: int
    count: int
    flat: torch.Tensor
    offset: int

    def fragment(self, kind: str, tensor: torch.Tensor) -> Fragment:
        """The place in the master, or in a state of the same shape."""
        cut = slice(self.offset, self.offset + self.count)
        return Fragment(Range(self.name, kind, self.start, self.start + self.count), tensor.view(-1)[cut])


@dataclass(frozen=True)
class EngineState:
    """A `TrainingState` over a DeepSpeed engine. Holds nothing of its own."""

    engine: Any

    def tensors(self) -> tuple[TensorRecord, ...]:
        """Parameters in the model's order, then its persistent buffers."""
        names: dict[int, list[str]] = {}
        for name, p in self.engine.module.named_parameters(remove_duplicate=False):
            names.setdefault(id(p), []).append(name)
        records = [
            _record(name, MASTER if p.requires_grad else FROZEN, p, names[id(p)])
            for name, p in self.engine.module.named_parameters()
        ]
        return (*records, *(_record(name, BUFFER, b, [name]) for name, b in _buffers(self.engine)))

    def live(self) -> Iterator[Fragment]:
        """Masters with their optimizer states, then frozen parameters, then buffers."""
        state = _base(self.engine).state
        for place in _places(self.engine):
            if place.count > 0:  # a small parameter leaves the last ranks of stage 3 with padding only
                held = state.get(place.flat, {})
                yield place.fragment(MASTER, place.flat.detach())
                yield from (place.fragment(kind, held[kind]) for kind in _state_kinds(held, place.flat))
        for name, p in self.engine.module.named_parameters():
            if not p.requires_grad:
                yield from _frozen(name, p)
        for name, b in _buffers(self.engine):
            if b.numel():
                yield Fragment(Range(name, BUFFER, 0, b.numel()), b.detach().view(-1))

    def owned(self) -> Iterator[Fragment]:
        """Live fragments without replicas: those are shared out evenly. Buffers are rank 0's, as they may differ."""
        if self.engine.micro_steps % self.engine.gradient_accumulation_steps():
            raise UsageError("a checkpoint in the middle of gradient accumulation", hint="save after engine.step()")
        rank, world = dist.get_rank(), dist.get_world_size()
        stage = self.engine.zero_optimization_stage()
        for fragment in self.live():
            size = len(fragment.tensor)
            if fragment.range.kind == BUFFER:
                low, high = (0, size) if rank == 0 else (0, 0)
            elif stage == 0 or (stage < 3 and fragment.range.kind == FROZEN):
                low, high = size * rank // world, size * (rank + 1) // world
            else:
                low, high = 0, size
            if low < high:
                yield fragment.part(low, high)

    def scalars(self) -> Scalars:
        """Optimizer step, kinds and hyperparameters, engine counters, schedule, loss scale: as JSON."""
        engine, base = self.engine, _base(self.engine)
        held = [(flat, base.state[flat]) for flat in _flats(engine) if flat in base.state]
        steps = sorted({float(state["step"]) for _, state in held if "step" in state})
        if len(steps) > 1:
            raise TrainingError(f"the parameters disagree on the optimizer's step ({steps}): cannot be saved")
        scaler = _scaler(engine)
        scalars: Scalars = {
            "optimizer": type(base).__name__,
            "kinds": sorted({kind for flat, state in held for kind in _state_kinds(state, flat)}),
            "counters": {"globalSteps": engine.global_steps, "skippedSteps": engine.skipped_steps},
            "groups": [_hyperparameters(group) for group in base.param_groups],
            "scaler": {k: v for k, v in vars(scaler).items() if isinstance(v, int | float)} if scaler else {},
        }
        if steps:
            scalars["step"] = steps[0]
        if engine.lr_scheduler is not None:
            scalars["schedule"] = engine.lr_scheduler.state_dict()
        return scalars

    def prepare(self, scalars: Scalars) -> None:
        """Optimizer states as after `scalars["step"]` steps, zero until they are filled."""
        base = _base(self.engine)
        _check_optimizer(base, scalars)
        for flat in _flats(self.engine):
            base.state.pop(flat, None)
            if scalars["kinds"] or "step" in scalars:
                base.state[flat] = {kind: torch.zeros_like(flat, requires_grad=False) for kind in scalars["kinds"]}
                if "step" in scalars:
                    base.state[flat]["step"] = _step_value(base, flat, scalars["step"])

    @torch.no_grad()
    def refresh(self, scalars: Scalars) -> None:
        """Module weights from the masters, hyperparameters, counters, schedule. Collective."""
        engine, base = self.engine, _base(self.engine)
        _spread_masters(engine)
        for group, values in zip(base.param_groups, scalars["groups"], strict=True):
            group.update({key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
        engine.global_steps = scalars["counters"]["globalSteps"]
        engine.skipped_steps = scalars["counters"]["skippedSteps"]
        # counted in this layout's units: another worker count may accumulate otherwise
        engine.micro_steps = engine.global_steps * engine.gradient_accumulation_steps()
        engine.global_samples = engine.global_steps * engine.train_batch_size()
        if engine.lr_scheduler is not None and "schedule" in scalars:
            engine.lr_scheduler.load_state_dict(scalars["schedule"])
        scaler = _scaler(engine)
        if scaler and scalars["scaler"].keys() <= vars(scaler).keys():
            vars(scaler).update(scalars["scaler"])


def _base(engine: Any) -> Any:
    """The optimizer below DeepSpeed's wrapper: it holds the states of the flat masters."""
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


def _scaler(engine: Any) -> Any:
    return getattr(engine.optimizer, "loss_scaler", None) or getattr(engine.optimizer, "loss_scale_config", None)


def _flats(engine: Any) -> list[torch.Tensor]:
    """The master tensors that the base optimizer steps (stage 3 empties its param_groups between steps)."""
    if engine.zero_optimization_stage() == 3:
        return list(engine.optimizer.fp32_partitioned_groups_flat)
    return list(chain.from_iterable(group["params"] for group in _base(engine).param_groups))


def _places(engine: Any) -> Iterator[_Place]:
    """Where each trained parameter's share of this rank lies, by what kind of optimizer DeepSpeed chose."""
    trained = [(name, p) for name, p in engine.module.named_parameters() if p.requires_grad]
    if engine.zero_optimization_stage() == 3:
        return _places_partitioned(engine.optimizer, trained)
    if hasattr(engine.optimizer, "update_lp_params"):  # DeepSpeedZeroOptimizer (stages 1, 2) and BF16_Optimizer
        return _places_in_flats(engine, trained)
    return _places_whole(engine, trained)


def _places_partitioned(optimizer: Any, trained: list[tuple[str, Any]]) -> Iterator[_Place]:
    """Stage 3: every parameter is cut into equal shares; the last ones end in padding, which is never saved."""
    for name, p in trained:
        group, offset, size = optimizer.grad_position[optimizer.get_param_id(p)]  # size includes the padding
        start = dist.get_rank(group=p.ds_process_group) * size
        flat = optimizer.fp32_partitioned_groups_flat[group]
        yield _Place(name, start, min(size, p.ds_numel - start), flat, offset)


def _places_in_flats(engine: Any, trained: list[tuple[str, Any]]) -> Iterator[_Place]:
    """Stages 1, 2: a rank's flat is an equal share of the buffer that a group's parameters are views of.

    Not by `_hp_mapping`: it is wrong under round_robin_gradients.
    """
    names = {p: name for name, p in trained}
    optimizer = engine.optimizer
    groups = getattr(optimizer, "bit16_groups", None) or optimizer.bf16_groups
    for params, group in zip(groups, _base(engine).param_groups, strict=True):
        flat = group["params"][0]
        low = dist.get_rank(group=engine.seq_data_parallel_group) * flat.numel()
        for p in params:
            at = p.storage_offset()
            start, stop = max(at, low), min(at + p.numel(), low + flat.numel())
            if start < stop:
                yield _Place(names[p], start - at, stop - start, flat, start - low)


def _places_whole(engine: Any, trained: list[tuple[str, Any]]) -> Iterator[_Place]:
    """Stage 0: the parameter itself in fp32, its own fp32 copy in 16 bit (FP16_Unfused_Optimizer)."""
    optimizer, copies = engine.optimizer, {}
    if hasattr(optimizer, "fp32_groups"):
        copies = dict(zip(chain(*optimizer.fp16_groups), chain(*optimizer.fp32_groups), strict=True))
    elif optimizer is not _base(engine):
        raise InvalidInputError(
            f"checkpoints of DeepSpeed's {type(optimizer).__name__} at ZeRO stage 0 are not implemented",
            hint="set sharding.zeroStage to 1 or more",
        )
    for name, p in trained:
        yield _Place(name, 0, p.numel(), copies.get(p, p), 0)


def _frozen(name: str, p: Any) -> Iterator[Fragment]:
    """A frozen parameter: whole, or this rank's share of it at stage 3."""
    if not hasattr(p, "ds_tensor"):
        if p.numel():
            yield Fragment(Range(name, FROZEN, 0, p.numel()), p.data.view(-1))
        return
    start = dist.get_rank(group=p.ds_process_group) * p.ds_tensor.ds_numel
    count = min(p.ds_tensor.ds_numel, p.ds_numel - start)
    if count > 0:
        yield Fragment(Range(name, FROZEN, start, start + count), p.ds_tensor.data[:count])


def _buffers(engine: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Persistent buffers: those that a state dict has."""
    hidden = {
        f"{path}.{name}".lstrip(".")
        for path, module in engine.module.named_modules()
        for name in module._non_persistent_buffers_set
    }
    return ((name, buffer) for name, buffer in engine.module.named_buffers() if name not in hidden)


def _record(name: str, kind: Any, tensor: Any, names: list[str]) -> TensorRecord:
    shape = tuple(getattr(tensor, "ds_shape", tensor.shape))  # stage 3 leaves an empty tensor in the module
    aliases = tuple(sorted(other for other in names if other != name))
    return TensorRecord(name=name, kind=kind, shape=shape, dtype=DTYPES[tensor.dtype], aliases=aliases)


def _state_kinds(state: dict[str, Any], flat: torch.Tensor) -> list[str]:
    """The states of the master's shape. Raises InvalidInputError for a state that fragments cannot hold."""
    kinds = []
    for kind, value in state.items():
        if kind == "step" or value is None:
            continue
        if not torch.is_tensor(value) or value.numel() != flat.numel():
            raise InvalidInputError(
                f"the optimizer keeps {kind!r}, which is no tensor of its parameter's shape: cannot be checkpointed",
                hint="choose adamw",
            )
        kinds.append(kind)
    return sorted(kinds)


def _hyperparameters(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group's plain values; None is what a group has anyway."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in group.items()
        if key != "params" and isinstance(value, bool | int | float | str | tuple)
    }


def _check_optimizer(base: Any, scalars: Scalars) -> None:
    saved, now = scalars["optimizer"], type(base).__name__
    if saved != now and not {saved, now} <= _ADAM_FAMILY:
        raise InvalidInputError(f"the checkpoint is of the optimizer {saved}, this run's is {now}")
    saved_groups, groups = len(scalars["groups"]), len(base.param_groups)
    if saved_groups != groups:
        raise InvalidInputError(f"the checkpoint has {saved_groups} parameter groups, this run's optimizer {groups}")


def _step_value(base: Any, flat: torch.Tensor, step: float) -> torch.Tensor | int:
    """The step counter as the optimizer keeps it: torch in a tensor (on the device when fused), DeepSpeed in an int."""
    if not type(base).__module__.startswith("torch."):
        return int(step)
    on_device = any(group.get("fused") or group.get("capturable") for group in base.param_groups)
    return torch.tensor(step, dtype=torch.float32, device=flat.device if on_device else "cpu")


def _spread_masters(engine: Any) -> None:
    """What the module computes with follows the restored masters, on every rank."""
    optimizer = engine.optimizer
    if engine.zero_optimization_stage() == 3:
        optimizer.checkpoint_event_prologue()  # drops gathered parameters
        for group in range(len(optimizer.fp16_groups)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)  # ds_tensor <- master
        optimizer.checkpoint_event_epilogue()  # gathers the small, persistent parameters again
    elif hasattr(optimizer, "update_lp_params"):
        optimizer.update_lp_params()  # module weights <- masters, then all-gather
    elif hasattr(optimizer, "fp32_groups"):
        for low, high in zip(chain(*optimizer.fp16_groups), chain(*optimizer.fp32_groups), strict=True):
            low.data.copy_(high)
