"""What a checkpoint must hold: pure rules over names and ranges, no files, no tensors.

A tensor's element range has the key `name:kind[start:stop]`, flat and half open. Kinds are the master weight,
frozen parameter, buffer, or an optimizer state by its own name (exp_avg). Called by transfer, on both ways.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from modelyard.records import TensorRecord

MASTER, FROZEN, BUFFER = "master", "frozen", "buffer"
_KEY = re.compile(r"(?P<name>.+):(?P<kind>[^:\[\]]+)\[(?P<start>\d+):(?P<stop>\d+)\]", re.DOTALL)
_TOLD = 12  # faults told in one message: enough to see the pattern (chosen by feel)


class Range(NamedTuple):
    """tensor[start:stop], flattened, of one kind."""

    name: str
    kind: str
    start: int
    stop: int

    @property
    def key(self) -> str:
        """The name under which the range stands in a safetensors file."""
        return f"{self.name}:{self.kind}[{self.start}:{self.stop}]"


def parse_key(key: str) -> Range | None:
    """The range that a key names, or None when it is no such key."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    return Range(found["name"], found["kind"], int(found["start"]), int(found["stop"]))


def num_elements(tensor: TensorRecord) -> int:
    """How many elements a tensor has."""
    return math.prod(tensor.shape)


def expected_kinds(tensor: TensorRecord, states: Sequence[str]) -> tuple[str, ...]:
    """What must stand of a tensor: a trained one's master and optimizer states, else the tensor itself."""
    return (MASTER, *states) if tensor.kind == MASTER else (tensor.kind,)


def coverage_faults(tensors: Iterable[TensorRecord], states: Sequence[str], ranges: Iterable[Range]) -> list[str]:
    """Why `ranges` are not every element of every tensor exactly once; empty when they are."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for name, kind, start, stop in ranges:
        found.setdefault((name, kind), []).append((start, stop))
    faults = []
    for tensor in tensors:
        for kind in expected_kinds(tensor, states):
            pieces = sorted(found.pop((tensor.name, kind), []))
            fault = _tiling_fault(pieces, num_elements(tensor))
            if fault:
                faults.append(f"{tensor.name}: {kind} {fault}")
    faults += [f"{name}: {kind} is there, but belongs to no tensor of the model" for name, kind in sorted(found)]
    return faults


def _tiling_fault(pieces: Sequence[tuple[int, int]], size: int) -> str:
    """Why sorted pieces do not cover [0, size) exactly once, or nothing."""
    at = 0
    for start, stop in pieces:
        if start >= stop:
            return f"has an empty range [{start}:{stop}]"
        if start > at:
            return f"lacks elements [{at}:{start}] of {size}"
        if start < at:
            return f"has elements [{start}:{min(at, stop)}] twice"
        at = stop
    if at > size:
        return f"goes up to {at}, but the tensor has {size} elements"
    return f"lacks elements [{at}:{size}] of {size}" if at < size else ""


def model_faults(checkpoint: Sequence[TensorRecord], model: Sequence[TensorRecord]) -> list[str]:
    """Why a checkpoint is not one of this model, both ways: what either lacks, other shapes, other roles."""
    saved, wanted = {t.name: t for t in checkpoint}, {t.name: t for t in model}
    faults = [f"{name}: in the model, not in the checkpoint" for name in wanted if name not in saved]
    faults += [f"{name}: in the checkpoint, not in the model" for name in saved if name not in wanted]
    for name in wanted.keys() & saved.keys():
        was, now = saved[name], wanted[name]
        if was.shape != now.shape:
            faults.append(f"{name}: shape {_shape(was)} in the checkpoint, {_shape(now)} in the model")
        elif was.kind != now.kind:
            faults.append(f"{name}: {_ROLES[was.kind]} in the checkpoint, {_ROLES[now.kind]} in the model")
        elif set(was.aliases) != set(now.aliases):
            before, after = _names(was.aliases), _names(now.aliases)
            faults.append(f"{name}: tied to {before} in the checkpoint, to {after} in the model")
    return sorted(faults)


_ROLES: Mapping[str, str] = {MASTER: "trained", FROZEN: "frozen", BUFFER: "a buffer"}


def _shape(tensor: TensorRecord) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _names(aliases: Sequence[str]) -> str:
    return ", ".join(sorted(aliases)) or "nothing"


def summary(faults: Sequence[str]) -> str:
    """Faults as the end of a sentence: the first few, and how many more."""
    more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    return "; ".join(faults[:_TOLD]) + more
