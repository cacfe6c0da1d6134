"""Keys and values of many sequences, each at its own position, behind transformers' Cache interface.

Row r of every tensor [rows, heads, capacity, head_dim] belongs to one sequence; rows in use are always 0..n-1, so a
decoding step attends over views, not copies. Memory grows by blocks up to the bound and is given back when idle.
The executor says before each forward which rows the batch stands for; the mask below asks the same cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "modelyard_sdpa"  # the name under which our mask is known to transformers
BLOCK_TOKENS = 64  # capacity is a multiple of this: chosen by feel


@dataclass(frozen=True)
class Span:
    """Where one row of a batch lies: cache row, position of its first token, number of real (not padding) tokens."""

    row: int
    start: int
    length: int


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Rows for up to `max_rows` sequences of up to `max_tokens` tokens."""

    def __init__(self, *, max_rows: int, max_tokens: int) -> None:
        super().__init__(layers=[])
        self.max_rows = max_rows
        self.max_tokens = max_tokens
        self.num_rows = 0
        self._row_capacity = 0
        self._token_capacity = 0
        self._stores: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._spans: tuple[Span, ...] = ()
        self._decoding = False
        self._starts: torch.Tensor | None = None
        self._query_offset: torch.Tensor | int | None = 0
        self._rows: torch.Tensor | None = None
        self._kv_length = 0

    @property
    def allocated_tokens(self) -> int:
        """Tokens for which memory is held, over all rows."""
        return self._row_capacity * self._token_capacity if self._stores else 0

    def take_row(self) -> int:
        """Append a row for a new sequence."""
        assert self.num_rows < self.max_rows
        self.num_rows += 1
        return self.num_rows - 1

    def drop_row(self, row: int, *, last_length: int) -> int:
        """Free a row. The last row moves into its place (`last_length` tokens); returns the row that moved."""
        last = self.num_rows - 1
        if row != last:
            for keys, values in self._stores.values():
                keys[row, :, :last_length] = keys[last, :, :last_length]
                values[row, :, :last_length] = values[last, :, :last_length]
        self.num_rows = last
        if last == 0:
            self._stores.clear()
            self._row_capacity = self._token_capacity = 0
        return last

    def begin(self, spans: Sequence[Span], *, decoding: bool, device: torch.device) -> None:
        """Say what the next forward's batch rows stand for.

        `decoding`: one token each for rows 0..n-1 in order. Otherwise chunks of prompts, padded on the right;
        either all start at 0 (no past is read) or none does.
        """
        self._spans = tuple(spans)
        self._decoding = decoding
        self._kv_length = max(span.start + span.length for span in spans)
        self._reserve(max(self.num_rows, 1), self._kv_length)
        rereads = decoding or spans[0].start > 0
        self._starts = torch.tensor([span.start for span in spans], device=device) if rereads else None
        # rows that all stand at one position need no mask of their own (nor, when decoding, any)
        aligned = len({span.start for span in spans}) == 1
        self._query_offset = spans[0].start if aligned else self._starts
        self._rows = torch.tensor([span.row for span in spans], device=device) if rereads else None

    def _reserve(self, rows: int, tokens: int) -> None:
        if rows <= self._row_capacity and tokens <= self._token_capacity:
            return
        if rows > self._row_capacity:
            self._row_capacity = min(self.max_rows, max(rows, 2 * self._row_capacity))
        if tokens > self._token_capacity:
            wanted = max(tokens, min(self._token_capacity * 3 // 2, self.max_tokens))
            self._token_capacity = -(-wanted // BLOCK_TOKENS) * BLOCK_TOKENS
        self._stores = {layer: (self._grown(k), self._grown(v)) for layer, (k, v) in self._stores.items()}

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        # zeros, not empty: a masked position weighs 0, and 0 * NaN of stale memory would be NaN
        new = old.new_zeros(self._row_capacity, old.shape[1], self._token_capacity, old.shape[3])
        new[: old.shape[0], :, : old.shape[2]] = old
        return new

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the batch's new keys and values [B, heads, width, dim]; return what its queries may attend to."""
        if layer_idx not in self._stores:
            self._stores[layer_idx] = (self._empty_like(key_states), self._empty_like(value_states))
        keys, values = self._stores[layer_idx]
        if self._decoding:
            keys[self._rows, :, self._starts] = key_states[:, :, 0]
            values[self._rows, :, self._starts] = value_states[:, :, 0]
            return keys[: len(self._spans), :, : self._kv_length], values[: len(self._spans), :, : self._kv_length]
        for index, span in enumerate(self._spans):
            end = span.start + span.length
            keys[span.row, :, span.start : end] = key_states[index, :, : span.length]
            values[span.row, :, span.start : end] = value_states[index, :, : span.length]
        if self._rows is None:
            return key_states, value_states
        return keys[self._rows, :, : self._kv_length], values[self._rows, :, : self._kv_length]

    def _empty_like(self, states: torch.Tensor) -> torch.Tensor:
        return states.new_zeros(self._row_capacity, states.shape[1], self._token_capacity, states.shape[3])

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """(length, offset) of the keys that `update` returns."""
        return (self._kv_length if self._rows is not None else query_length), 0

    def get_query_offset(self, layer_idx: int = 0) -> Any:
        """Position of each row's first query: a tensor [B], or a number when it is the same. `slot_mask` reads it."""
        return self._query_offset

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Models ask it only when no position_ids are given; the executor always gives them."""
        return 0 if self._rows is None else self._kv_length - 1

    @property
    def is_compileable(self) -> bool:
        """No: shapes change from step to step."""
        return False


def slot_mask(*, q_length: int, kv_length: int, q_offset: Any = 0, device: Any = "cpu", **kwargs: Any) -> Any:
    """transformers' boolean mask, with a query offset per row where the cache gives a tensor of them.

    `mask_function(batch, head, query, key)` is the layer's own rule (causal, sliding, chunked), so families with
    mixed layers keep theirs. Returns [B, 1, q_length, kv_length], or None where plain causal attention will do.
    """
    if not isinstance(q_offset, torch.Tensor):
        return sdpa_mask(q_length=q_length, kv_length=kv_length, q_offset=q_offset, device=device, **kwargs)
    if kwargs.get("use_vmap") or kwargs.get("attention_mask") is not None:
        raise NotImplementedError("masks that are not functions of positions")
    batch = torch.arange(len(q_offset), device=device)[:, None, None, None]
    head = torch.zeros(1, dtype=torch.long, device=device)[None, :, None, None]
    query = (q_offset[:, None] + torch.arange(q_length, device=device))[:, None, :, None]
    key = torch.arange(kv_length, device=device)[None, None, None, :]
    mask: torch.Tensor = kwargs["mask_function"](batch, head, query, key)
    return mask.expand(len(q_offset), 1, q_length, kv_length)


AttentionInterface.register(ATTENTION, sdpa_attention_forward)
AttentionMaskInterface.register(ATTENTION, slot_mask)
