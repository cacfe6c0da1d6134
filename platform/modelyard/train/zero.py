"""The DeepSpeed engine behind four verbs: forward, backward, step, close. The only file of train that names it.

No operator is ever compiled: the op table is emptied before DeepSpeed looks, and a torch optimizer is handed in.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
import torch
from deepspeed.ops import __dict__ as _ops

from modelyard.errors import InvalidInputError
from modelyard.train.task import Place

_ops["__compatible_ops__"] = {}


@dataclass(frozen=True)
class EnginePlan:
    """What decides the engine: the wish of the manifest and the layout's micro-steps."""

    zero_stage: int
    precision: str
    micro_steps: int
    micro_rows: int
    gradient_clipping: float
    peak_learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    activation_checkpointing: bool
    overrides: Mapping[str, Any]


def join_group(place: Place, device: torch.device, *, timeout_seconds: float) -> None:
    """Join the process group of `place`; returns when all ranks have."""
    os.environ.update(
        RANK=str(place.rank),
        WORLD_SIZE=str(place.world),
        LOCAL_RANK=str(place.local_rank),
        MASTER_ADDR=place.master_address,
        MASTER_PORT=str(place.master_port),
    )
    if place.master_address == "127.0.0.1":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: its name need not resolve
    deepspeed.init_distributed(
        dist_backend="nccl" if device.type == "cuda" else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
        timeout=timedelta(seconds=timeout_seconds),
        rank=place.rank,
        world_size=place.world,
    )


def leave_group() -> None:
    """Leave the process group, so that this process can join another."""
    if deepspeed.comm.is_initialized():
        deepspeed.comm.destroy_process_group()


class ZeroEngine:
    """A module under DeepSpeed ZeRO. `raw` is DeepSpeed's engine, for the checkpoint room's adapter."""

    def __init__(self, raw: Any, plan: EnginePlan) -> None:
        self.raw = raw
        self._plan = plan

    def __call__(self, **inputs: Any) -> Any:
        return self.raw(**inputs)

    @property
    def module(self) -> torch.nn.Module:
        module: torch.nn.Module = self.raw.module
        return module

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of a micro-step; the last of a step reduces over the workers."""
        self.raw.backward(loss, scale_wrt_gas=False)
        if not self.raw.is_gradient_accumulation_boundary():
            self.raw.step()  # counts the micro-step; no update

    def step(self, learning_rate: float) -> float:
        """Clip, update the weights, clear the gradients. Returns the gradient norm before clipping.

        A norm that is not finite leaves the weights as they were.
        """
        for group in self.raw.optimizer.param_groups:
            group["lr"] = learning_rate
        if _is_plain(self.raw):
            norm = self._clip()
            if math.isfinite(norm):
                self.raw.step()
            return norm
        self.raw.step()
        norm = float(self.raw.get_global_grad_norm())
        return norm if self.raw.was_step_applied() else math.nan

    def close(self) -> None:
        """Release hooks and buffers."""
        self.raw.destroy()

    def _clip(self) -> float:
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._plan.gradient_clipping > 0:
            torch.nn.utils.clip_grads_with_norm_(
                [p for p in self.module.parameters() if p.grad is not None], self._plan.gradient_clipping, norm
            )
        return float(norm)


def open_engine(module: torch.nn.Module, plan: EnginePlan, *, world: int, device: torch.device) -> ZeroEngine:
    """Wrap `module` for training; its parameters move to `device` and are sharded as the plan says."""
    if plan.activation_checkpointing:
        module.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    module.to(device)
    _import_muon()
    raw, *_ = deepspeed.initialize(
        model=module,
        optimizer=_optimizer(module, plan),
        config=engine_config(plan, world=world),
        dist_init_required=False,
    )
    if world == 1 and _is_plain(raw):
        raw.enable_backward_allreduce = False  # nobody to average with: spares three passes over the gradients
    return ZeroEngine(raw, plan)


def _import_muon() -> None:
    """Import DeepSpeed's Muon with its kernels uncompiled.

    ZeRO imports it to learn that our optimizer is none (`is_zero_supported_optimizer`), and its three `torch.compile`
    load Inductor: about a second of every worker's start.
    """
    compiling, torch.compile = torch.compile, lambda kernel: kernel  # type: ignore[assignment]
    try:
        import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401
    finally:
        torch.compile = compiling


def engine_config(plan: EnginePlan, *, world: int) -> dict[str, Any]:
    """DeepSpeed's configuration; the manifest's own keys are merged in last, but decide nothing that a field does."""
    ours: dict[str, Any] = {
        "train_batch_size": plan.micro_rows * plan.micro_steps * world,
        "train_micro_batch_size_per_gpu": plan.micro_rows,
        "gradient_accumulation_steps": plan.micro_steps,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
        "zero_optimization": {"stage": plan.zero_stage, "overlap_comm": False},
    }
    if plan.zero_stage > 0 or plan.precision != "fp32":
        ours["gradient_clipping"] = plan.gradient_clipping  # else we clip, and so know the norm
    if plan.precision == "bf16":
        ours["bf16"] = {"enabled": True, "check_grad_overflow": True}
    elif plan.precision == "fp16":
        ours["fp16"] = {"enabled": True}
    return _merged(ours, plan.overrides)


def _optimizer(module: torch.nn.Module, plan: EnginePlan) -> torch.optim.Optimizer:
    """AdamW in one pass over memory (fused); vectors (norms, biases) are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise InvalidInputError("no parameter of the model is trainable")
    matrices = [p for p in trained if _num_axes(p) >= 2]
    vectors = [p for p in trained if _num_axes(p) < 2]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=plan.peak_learning_rate, betas=plan.betas, eps=1e-8, fused=True
    )


def _num_axes(parameter: torch.nn.Parameter) -> int:
    return len(getattr(parameter, "ds_shape", parameter.shape))  # under zero.Init the parameter itself is flat


def _is_plain(raw: Any) -> bool:
    """Stage 0 in fp32: DeepSpeed hands through the torch optimizer, and knows no gradient norm."""
    return raw.zero_optimization_stage() == 0 and raw.optimizer is raw.basic_optimizer


def _merged(ours: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in more.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
