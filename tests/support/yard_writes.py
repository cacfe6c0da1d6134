"""Every kind of write of the yard and the registry as one function on a folder: what the faulty disk runs."""

from __future__ import annotations

from pathlib import Path

from modelyard.records import StageRecord
from modelyard.registry import open_registry
from modelyard.telemetry import Events, RowWriter
from modelyard.yard import (
    NO_COMMITS,
    claim_group,
    compare_and_swap,
    open_yard,
    publish,
    publish_stage,
    replace,
    take_over,
)

OLD = b"old content, shorter"
NEW = b"new content\n" * 400
RUN = "job-0123abcd"
ZERO = "sha256:" + "0" * 64


def publish_new(folder: Path) -> None:
    publish(folder / "record.json", NEW)


def publish_in_new_folders(folder: Path) -> None:
    publish(folder / "a" / "b" / "record.json", NEW)


def replace_old(folder: Path) -> None:
    replace(folder / "record.json", NEW)


def swap_old(folder: Path) -> None:
    compare_and_swap(folder / "record.json", OLD, NEW)


def append(folder: Path) -> None:
    RowWriter(folder / "rows.jsonl").write({"row": "new", "padding": "x" * 500})


def add_event(folder: Path) -> None:
    Events(folder / "rows.jsonl", attempt=2, now=lambda: "2026-01-01T00:00:00Z").add("new", padding="x" * 500)


def make_yard(folder: Path) -> None:
    open_yard(folder / "yard")


def claim_run(folder: Path) -> None:
    take_over(open_yard(folder / "yard").run(RUN), commits=NO_COMMITS).release()


def claim_workers(folder: Path) -> None:
    claim_group(open_yard(folder / "yard").run(RUN), driver=1)


def stage_record(outcome: str, attempt: int = 1) -> StageRecord:
    return StageRecord(
        stage="train", input_digest=ZERO, attempt=attempt, code_version="0", outputs=(), started="", completed="",
        details={"outcome": outcome, "padding": "x" * 500},
    )  # fmt: skip


def record_stage(folder: Path) -> None:
    publish_stage(open_yard(folder / "yard").run(RUN), stage_record("new"))


def register(folder: Path, model: str = "model") -> None:
    open_registry(open_yard(folder / "yard")).register(
        "quickstart", folder / model, run_id=RUN, spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO,
        code_version="0",
    )  # fmt: skip


def register_second(folder: Path) -> None:
    register(folder, "second")


def move_alias(folder: Path) -> None:
    open_registry(open_yard(folder / "yard")).set_alias("quickstart", "stable", 2, by="test")
