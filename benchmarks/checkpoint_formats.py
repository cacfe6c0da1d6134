"""Our fragments beside torch.distributed.checkpoint (DCP) with 1-D chunks, over the same live state of a ZeRO engine.

Both save and restore what two ranks of a stage 2 engine train with (fp32 masters and Adam's two moments), by turns in
one run, every restore into an engine whose values were spoilt before and checked after. Both sync their files; ours
also digests, syncs the folder, checks coverage and commits. Restores read from the page cache.

    python benchmarks/checkpoint_formats.py [--rounds 7] [--width 1024] [--world 2] [--stage 2]

Prints medians with the range, the bytes on disk, and the most memory a rank took beyond what it held before.
Found (November 2026, 2 shared cores, 29.4 M parameters): save 0.36 s against 0.42, +0 MiB against +168; restore
0.05 s, or 0.22 s with the digests verified, against 0.18 s without any. See docs/decisions/0001-checkpoints.md.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import torch
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from modelyard import checkpoint
from modelyard.checkpoint.fragments import Fragment
from support.engines import launch
from support.states import claimed_run, facts


def name_of(fragment: Fragment) -> str:
    """DCP's name of the one-dimensional tensor that the fragment is a chunk of."""
    return f"{fragment.range.name}:{fragment.range.kind}"


def chunk_of(fragment: Fragment) -> ChunkStorageMetadata:
    """The fragment's place in it."""
    return ChunkStorageMetadata(torch.Size([fragment.range.start]), torch.Size([len(fragment.tensor)]))


class FlatSavePlanner(SavePlanner):
    """Saves fragments as 1-D chunks by name and offset."""

    def __init__(self, fragments: list[Fragment], sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.by_place = {(name_of(f), f.range.start): f for f in fragments}

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
        pass

    def create_local_plan(self) -> SavePlan:
        items = []
        for (name, start), fragment in self.by_place.items():
            properties = TensorProperties(dtype=fragment.tensor.dtype)
            data = TensorWriteData(chunk_of(fragment), properties, torch.Size([self.sizes[fragment.range.name]]))
            items.append(WriteItem(MetadataIndex(name, torch.Size([start])), WriteItemType.SHARD, tensor_data=data))
        return SavePlan(items)

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        tensors: dict[str, Any] = {}
        for plan in all_plans:
            for item in plan.items:
                data = item.tensor_data
                assert data is not None
                entry = tensors.setdefault(item.index.fqn, TensorStorageMetadata(data.properties, data.size, []))
                entry.chunks.append(data.chunk)
        return all_plans, Metadata(tensors)

    def finish_plan(self, new_plan: SavePlan) -> SavePlan:
        return new_plan

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        assert write_item.index.offset is not None
        return self.by_place[write_item.index.fqn, write_item.index.offset[0]].tensor.detach()


class FlatLoadPlanner(LoadPlanner):
    """Reads into live fragments whatever saved chunks lie over them."""

    def __init__(self, fragments: list[Fragment]) -> None:
        self.by_place = {(name_of(f), f.range.start): f for f in fragments}

    def set_up_planner(self, state_dict: Any, metadata: Metadata | None = None, is_coordinator: bool = False) -> None:
        assert metadata is not None
        self.metadata = metadata

    def create_local_plan(self) -> LoadPlan:
        items: list[ReadItem] = []
        for (name, _), fragment in self.by_place.items():
            saved = self.metadata.state_dict_metadata[name]
            assert isinstance(saved, TensorStorageMetadata)
            items += create_read_items_for_chunk_list(name, saved, [chunk_of(fragment)])
        return LoadPlan(items)

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        return global_plan

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        return central_plan

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        raise AssertionError("only tensors were saved")

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        assert read_item.dest_index.offset is not None
        whole = self.by_place[read_item.dest_index.fqn, read_item.dest_index.offset[0]].tensor
        return whole.narrow(0, read_item.dest_offsets[0], read_item.lengths[0])

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        pass


def build(width: int, stage: int) -> Any:
    """An engine of 28 * width^2 parameters that has stepped once, so that Adam has its moments."""
    import deepspeed

    layers = [torch.nn.Linear(width, width) for _ in range(12)]
    model = torch.nn.Sequential(torch.nn.Embedding(16 * width, width), *layers)
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    engine, *_ = deepspeed.initialize(model=model, config=config, optimizer=optimizer, dist_init_required=False)
    engine.backward(engine(torch.arange(8)[None]).square().mean())
    engine.step()
    return engine


def peak_beyond(action: Callable[[], None]) -> tuple[float, float]:
    """Seconds that an action took, and the MiB by which this process's resident set rose at most meanwhile."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # else the action would live on what was freed before it
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    start = time.perf_counter()
    action()
    return time.perf_counter() - start, (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def measure(root: Path, rounds: int, width: int, stage: int) -> dict[str, list[tuple[float, float]]]:
    """On one rank: seconds and MiB of each action, a value for each round."""
    from modelyard.checkpoint.zero import engine_state, process_ranks

    engine, ranks = build(width, stage), process_ranks()
    state = engine_state(engine)
    sizes = {t.name: torch.Size(t.shape).numel() for t in state.tensors()}
    if ranks.rank == 0:
        claimed_run(root / "yard")
    ranks.gather(b"")
    from modelyard.yard import open_yard

    run, folder = open_yard(root / "yard").run("quickstart-00000000"), root / "dcp"
    results: dict[str, list[tuple[float, float]]] = {}

    def spoil() -> list[torch.Tensor]:
        kept = [f.tensor.clone() for f in state.live()]
        for f in state.live():
            f.tensor.zero_()
        return kept

    def check(kept: list[torch.Tensor]) -> None:
        assert all(torch.equal(f.tensor, value) for f, value in zip(state.live(), kept, strict=True))

    def timed(name: str, action: Callable[[], None]) -> None:
        ranks.gather(b"")
        results.setdefault(name, []).append(peak_beyond(action))
        ranks.gather(b"")

    def ours_save() -> None:
        checkpoint.save(state, run, facts(number, 1), ranks=ranks)

    def ours_restore() -> None:
        with checkpoint_reader(checkpoint.open_commit(run, f"step-{number:08d}.a1")) as reader:
            for fragment in state.live():
                reader.read(fragment)

    def dcp_save() -> None:
        writer = dcp.FileSystemWriter(folder, sync_files=True, overwrite=False)
        dcp.save({}, storage_writer=writer, planner=FlatSavePlanner(list(state.owned()), sizes))

    def dcp_restore() -> None:
        dcp.load({}, storage_reader=dcp.FileSystemReader(folder), planner=FlatLoadPlanner(list(state.live())))

    for number in range(rounds + 1):  # round 0 warms up
        turns = [
            ("fragments", ours_save, ours_restore),
            ("DCP", dcp_save, dcp_restore),
        ]
        for name, save, restore in turns if number % 2 else reversed(turns):
            timed(f"{name}: save", save)
            kept = spoil()
            timed(f"{name}: restore", restore)
            check(kept)
            del kept
        timed("fragments: verify digests", lambda: checkpoint.verify(checkpoint.committed(run)[0], ranks=ranks))
        if ranks.rank == 0:
            results["bytes"] = [(_bytes(run.checkpoints), _bytes(folder))]
            for path in (run.checkpoints, folder):
                shutil.rmtree(path)
        ranks.gather(b"")
    results["parameters"] = [(float(sum(sizes.values())), 0.0)]
    return results


def checkpoint_reader(commit: checkpoint.Commit) -> Any:
    """The reader of a commit's files, with the coverage check that a restore makes."""
    from modelyard.checkpoint.fragments import FragmentReader

    return FragmentReader(commit.paths)


def _bytes(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--world", type=int, default=2)
    parser.add_argument("--stage", type=int, default=2)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="checkpoint-formats-"))
    try:
        answers = launch(options.world, measure, root, options.rounds, options.width, options.stage)
    finally:
        shutil.rmtree(root)
    parameters = answers[0].pop("parameters")[0][0]
    ours, theirs = answers[0].pop("bytes")[0]
    print(f"{parameters / 1e6:.1f} M parameters, {options.world} ranks, stage {options.stage}, {options.rounds} rounds")
    for name in sorted(answers[0]):
        seconds = [max(a[name][i][0] for a in answers) for i in range(1, options.rounds + 1)]
        peaks = [max(a[name][i][1] for a in answers) for i in range(1, options.rounds + 1)]
        print(
            f"{name:28} {statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"peak +{statistics.median(peaks):.0f} MiB per rank"
        )
    print(f"bytes on disk: fragments {ours:,.0f}, DCP {theirs:,.0f}")


if __name__ == "__main__":
    main()
