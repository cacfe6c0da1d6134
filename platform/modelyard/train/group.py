"""The worker group as torch sees it: small sums, words handed round. `join_group` in zero.py makes it."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import distributed


class WorkerGroup:
    """The ranks of a started group; a world of one needs no communication."""

    def __init__(self, rank: int, world: int, device: torch.device) -> None:
        self.rank = rank
        self.world = world
        self._device = device

    def total(self, *values: float) -> list[float]:
        """Each value summed over the ranks, in float64."""
        if self.world == 1:
            return [float(v) for v in values]
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        distributed.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def from_first(self, value: Any) -> Any:
        """Rank 0's JSON value, on every rank."""
        if self.world == 1:
            return value
        text = json.dumps(value).encode() if self.rank == 0 else b""
        size = torch.tensor([len(text)], dtype=torch.int64, device=self._device)
        distributed.broadcast(size, 0)
        data = torch.zeros(int(size), dtype=torch.uint8, device=self._device)
        if self.rank == 0:
            data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        distributed.broadcast(data, 0)
        return json.loads(bytes(data.cpu().numpy()))

    def gather(self, text: str, limit: int = 4096) -> list[str]:
        """Every rank's text (cut to `limit` bytes), by rank, on every rank."""
        if self.world == 1:
            return [text]
        data = text.encode()[:limit].ljust(limit)
        mine = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self._device)
        all_of_them = [torch.empty_like(mine) for _ in range(self.world)]
        distributed.all_gather(all_of_them, mine)
        return [bytes(t.cpu().numpy()).decode(errors="ignore").rstrip() for t in all_of_them]

    def barrier(self) -> None:
        """Wait for all."""
        self.total(0.0)
