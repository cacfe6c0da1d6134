"""The rows of every training step: a function of (seed, step) alone, whatever the workers and the interruptions."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modelyard.data.packing import EpochPlan, constant_predictions, plan_epoch
from modelyard.data.shards import Split
from modelyard.errors import BadDataError, InvalidInputError

Ids = npt.NDArray[np.int64]
IGNORED = -100  # torch's cross_entropy leaves this label out


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a step, int64 [rows, L]. Position t of `input_ids` predicts `labels` at t (already shifted).

    `labels` is -100 where nothing is predicted (padding). `position_ids` restart with each segment; `segment_ids`
    number them 0, 1, … within a row, -1 is padding: attention stays within a segment.
    `documents` int64 [segments, 5] is the ledger: row, document, first prediction, one past the last, epoch.
    """

    input_ids: Ids
    labels: Ids
    position_ids: Ids
    segment_ids: Ids
    documents: Ids


class _Position(NamedTuple):
    epoch: int
    row: int  # within it


class Loader:
    """Rows by step; steps count from 0, and step s is rows s·R to (s+1)·R of the endless chain of epochs.

    An epoch is cut to rows of its own (the last one padded); a short last batch goes on into the next epoch. Without
    packing a row is one document, cut to L predictions. `passes` by source name; 1.0 where not named.
    """

    def __init__(
        self,
        split: Split,
        *,
        sequence_length: int,
        seed: int,
        rows_per_step: int,
        packing: bool = True,
        passes: Mapping[str, float] | None = None,
    ) -> None:
        self._split = split
        self._length = sequence_length
        self._seed = seed
        self._rows_per_step = rows_per_step
        self._packing = packing
        self._passes = tuple(float((passes or {}).get(name, 1.0)) for name in split.source_names)
        if sequence_length < 1 or rows_per_step < 1:
            raise InvalidInputError(f"a step of {rows_per_step} rows of {sequence_length} tokens holds nothing")
        if not split.documents or not any(
            times > 0 and (split.source_ids == source).any() for source, times in enumerate(self._passes)
        ):
            raise BadDataError(f"{split.folder} holds no document to read", hint="see excluded.jsonl beside it")
        predictions = constant_predictions(split.lengths, split.source_ids, self._passes)
        self._constant_rows = None if predictions is None or not packing else -(-predictions // sequence_length)
        self._first_rows = [0]  # of the epochs looked at so far, when they differ
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def rows(self, step: int, rank: int = 0, world: int = 1) -> Rows:
        """This rank's share of a step; all ranks' shares in order are the whole step.

        Ranks share evenly when the step's rows divide by `world`, else as evenly as can be (a share may be empty).
        """
        start = step * self._rows_per_step
        first = start + rank * self._rows_per_step // world
        last = start + (rank + 1) * self._rows_per_step // world
        return self._fill(first, last)

    def num_rows(self, epoch: int) -> int:
        """Rows of an epoch."""
        if self._constant_rows is not None:
            return self._constant_rows
        plan = self._plan(epoch)
        return -(-plan.predictions // self._length) if self._packing else len(plan.documents)

    def steps_for(self, epochs: float) -> int:
        """Steps that read `epochs` epochs whole; the last step may reach into the next."""
        exact = Fraction(str(epochs))  # 1.1 of 100 rows are 110, not the 111 of binary rounding
        whole = math.floor(exact)
        if self._constant_rows is not None:
            rows = whole * self._constant_rows
        else:
            rows = sum(self.num_rows(epoch) for epoch in range(whole))
        if exact > whole:
            rows += math.ceil((exact - whole) * self.num_rows(whole))
        return max(-(-rows // self._rows_per_step), 1)

    def _position(self, row: int) -> _Position:
        if self._constant_rows is not None:
            return _Position(*divmod(row, self._constant_rows))
        while self._first_rows[-1] <= row:
            self._first_rows.append(self._first_rows[-1] + self.num_rows(len(self._first_rows) - 1))
        epoch = bisect.bisect_right(self._first_rows, row) - 1
        return _Position(epoch, row - self._first_rows[epoch])

    def _make_plan(self, epoch: int) -> EpochPlan:
        return plan_epoch(self._split.lengths, self._split.source_ids, self._passes, seed=self._seed, epoch=epoch)

    def _fill(self, first: int, last: int) -> Rows:
        """Global rows `first` to `last`, epoch by epoch."""
        shape = (last - first, self._length)
        rows = Rows(
            input_ids=np.full(shape, self._split.pad_id, dtype=np.int64),
            labels=np.full(shape, IGNORED, dtype=np.int64),
            position_ids=np.zeros(shape, dtype=np.int64),
            segment_ids=np.full(shape, -1, dtype=np.int64),
            documents=np.zeros((0, 5), dtype=np.int64),
        )
        ledger = [rows.documents]
        row = first
        while row < last:
            position = self._position(row)
            count = min(last - row, self.num_rows(position.epoch) - position.row)
            plan = self._plan(position.epoch)
            spans = (
                self._packed_spans(plan, position.row, count)
                if self._packing
                else self._spans(plan, position.row, count)
            )
            spans[:, 0] += row - first
            self._copy(rows, spans)
            ledger.append(np.column_stack([spans[:, [0, 2, 3, 4]], np.full(len(spans), position.epoch)]))
            row += count
        return Rows(rows.input_ids, rows.labels, rows.position_ids, rows.segment_ids, np.concatenate(ledger))

    def _packed_spans(self, plan: EpochPlan, first_row: int, count: int) -> Ids:
        """Segments of rows of an epoch: int64 [segments, 5]: row, column, document, first prediction, one past last."""
        begin = first_row * self._length
        end = min((first_row + count) * self._length, plan.predictions)
        k0 = int(np.searchsorted(plan.starts, begin, side="right")) - 1
        k1 = int(np.searchsorted(plan.starts, end, side="left"))
        cuts = np.union1d(plan.starts[k0 + 1 : k1], np.arange(begin, end, self._length))
        ends = np.append(cuts[1:], end)
        which = np.searchsorted(plan.starts, cuts, side="right") - 1
        offset = plan.starts[which]
        at = cuts - begin
        return np.column_stack(
            [at // self._length, at % self._length, plan.documents[which], cuts - offset, ends - offset]
        )

    def _spans(self, plan: EpochPlan, first_row: int, count: int) -> Ids:
        """One document a row."""
        documents = plan.documents[first_row : first_row + count]
        sizes = np.minimum(self._split.lengths[documents] + 1, self._length)
        zeros = np.zeros(count, dtype=np.int64)
        return np.column_stack([np.arange(count), zeros, documents, zeros, sizes])

    def _copy(self, rows: Rows, spans: Ids) -> None:
        split = self._split
        counting = np.arange(self._length)
        last_row, segment = -1, 0
        for row, column, document, first, last in spans.tolist():
            segment = segment + 1 if row == last_row else 0
            last_row = row
            tokens = split.tokens(document)
            stop = column + last - first
            inputs, labels = rows.input_ids[row, column:stop], rows.labels[row, column:stop]
            if first == 0:
                inputs[0] = split.bos_id
                inputs[1:] = tokens[: last - 1]
            else:
                inputs[:] = tokens[first - 1 : last - 1]
            if last > len(tokens):
                labels[-1] = split.eos_id
                labels[:-1] = tokens[first:]
            else:
                labels[:] = tokens[first:last]
            rows.position_ids[row, column:stop] = counting[: stop - column]
            rows.segment_ids[row, column:stop] = segment
