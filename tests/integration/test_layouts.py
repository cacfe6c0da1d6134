"""The same batches, the same loss curve, the same weights: over workers, ZeRO stages, accumulation and interruptions.

Real worker processes over gloo, no Ray.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import AutoConfig

from modelyard import data, yard
from modelyard.checkpoint import assemble, committed
from modelyard.errors import FencedError
from modelyard.train.export import export_commit
from modelyard.train.failures import FailureNote
from modelyard.train.task import TrainOutcome, TrainTask
from support.training_jobs import (
    MANIFEST,
    Fate,
    TinyYard,
    digest,
    losses,
    make_yard,
    read_ledger,
    row_hashes,
    train_on,
    train_through,
)

TOLERANCE = 1e-5  # the promise between layouts, in fp32


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyYard:
    return make_yard(tmp_path_factory.mktemp("layouts"))


@pytest.fixture(scope="module")
def plain(tiny: TinyYard) -> dict[int, float]:
    """A plain PyTorch loop: one document's piece at a time, no packing, no DeepSpeed, one process."""
    from torch.nn import functional

    from modelyard.model import TokenizerFacts, build
    from modelyard.text import open_tokenizer

    torch.set_num_threads(1)
    job = tiny.job()
    task = tiny.task("plain")
    folder = Path(task.dataset_folder)
    tokenizer = open_tokenizer(folder / "tokenizer")
    facts = TokenizerFacts(tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    module = build(job.spec.model, facts=facts, sequence_length=32, seed=17)
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], betas=(0.9, 0.95)
    )
    loader = data.Loader(data.open_split(folder, "train"), sequence_length=32, seed=17, rows_per_step=8)
    curve = {}
    for step in range(1, 31):
        rows = loader.rows(step - 1)
        total = torch.zeros(())
        for row in range(8):
            for segment in range(rows.segment_ids[row].max() + 1):
                here = rows.segment_ids[row] == segment
                logits = module(input_ids=torch.tensor(rows.input_ids[row][here])[None]).logits[0]
                total = total + functional.cross_entropy(logits, torch.tensor(rows.labels[row][here]), reduction="sum")
        loss = total / int((rows.labels != data.IGNORED).sum())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 0.003 * _cosine(step)
        optimizer.step()
        curve[step] = loss.item()
    return curve


def _cosine(step: int, warmup: int = 4, total: int = 30, low: float = 0.1) -> float:
    import math

    if step < warmup:
        return step / warmup
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


LAYOUTS: dict[str, tuple[int, int, int | None]] = {  # ZeRO stage, workers, rows of a micro-step
    "stage 0, 1 worker": (0, 1, None),
    "stage 0, 2 workers": (0, 2, None),
    "stage 1, 2 workers": (1, 2, None),
    "stage 2, 1 worker": (2, 1, None),
    "stage 2, 2 workers": (2, 2, None),
    "stage 2, 3 workers for 8 rows": (2, 3, None),
    "stage 3, 1 worker": (3, 1, None),
    "stage 3, 2 workers": (3, 2, None),
    "stage 1, 2 workers, accumulation": (1, 2, 2),
    "stage 3, 3 workers, uneven accumulation": (3, 3, 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_follows_a_plain_loop(name: str, tiny: TinyYard, plain: dict[int, float]) -> None:
    stage, world, micro_rows = LAYOUTS[name]
    task = tiny.task(
        f"layout-{list(LAYOUTS).index(name)}", f"sharding.zeroStage={stage}",
        f"sharding.activationCheckpointing={'true' if micro_rows else 'false'}", micro_rows=micro_rows,
    )  # fmt: skip
    outcome = train_through(task, world)
    curve = losses(task)
    assert curve.keys() == plain.keys()
    worst = max(abs(curve[step] - plain[step]) for step in plain)
    assert worst < TOLERANCE, f"{name}: off by {worst:.2e}"
    assert outcome.step == 30
    assert plain[1] - plain[30] > 0.3, "the plain loop learns nothing: the comparison says little"


@pytest.mark.parametrize(("stage", "world"), [(0, 1), (2, 2), (3, 2)])
def test_two_launches_and_an_interrupted_one_end_with_the_same_weights(tiny: TinyYard, stage: int, world: int) -> None:
    whole, again, broken = (tiny.task(f"same-{stage}-{part}", f"sharding.zeroStage={stage}") for part in "abc")
    train_through(whole, world)
    train_through(again, world)
    assert digest(whole) == digest(again)

    results = train_on(broken, world, Fate(die_at_step=17, die_rank=world - 1))
    assert results[world - 1] is None
    assert not any(isinstance(result, TrainOutcome) for result in results)
    train_through(broken, world)
    assert digest(broken) == digest(whole)
    assert losses(broken) == losses(whole)


def test_resume_on_other_layouts_continues_the_curve(tiny: TinyYard, plain: dict[int, float]) -> None:
    train_on(tiny.task("moved", "sharding.zeroStage=3"), 2, Fate(stop_at_step=8))
    train_on(tiny.task("moved", "sharding.zeroStage=2"), 1, Fate(stop_at_step=16))
    task = tiny.task("moved", "sharding.zeroStage=3")
    outcome = train_through(task, 3)
    curve = losses(task)
    assert outcome.step == 30
    assert max(abs(curve[step] - plain[step]) for step in plain) < TOLERANCE


def test_a_stop_commits_the_step_and_the_rest_follows(tiny: TinyYard) -> None:
    task = tiny.task("stopped")
    outcome = train_through(task, 2, Fate(stop_at_step=7))
    assert outcome.stopped
    assert outcome.export == ""
    assert Path(outcome.checkpoint).name.startswith(f"step-{outcome.step:08d}")
    task = tiny.task("stopped")  # a new driver: the old wish to stop is not its own
    assert train_through(task, 2).step == 30


def test_each_row_of_an_epoch_is_trained_on_once_though_workers_die(tiny: TinyYard, tmp_path: Path) -> None:
    """The ledger is of hashes of the rows handed to the model, joined by what was committed."""
    manifest = MANIFEST.replace("steps: 30", "epochs: 1").replace("everySteps: 10", "everySteps: 4")
    expected = _rows_of_first_epoch(tiny.task("ledger", manifest=manifest))
    fates = [Fate(str(tmp_path / "a"), die_at_step=7, die_rank=1), Fate(str(tmp_path / "b"), die_at_step=13)]
    for fate in fates:
        train_on(tiny.task("ledger", manifest=manifest), 2, fate)
    task = tiny.task("ledger", manifest=manifest)
    train_through(task, 2, Fate(str(tmp_path / "c")))

    last_word: dict[int, dict[int, list[str]]] = {}
    for part in "abc":  # a later start redoes what lay after the last commit: its word counts
        steps: dict[int, dict[int, list[str]]] = {}
        for step, rank, row in read_ledger([tmp_path / f"{part}.{rank}" for rank in (0, 1)]):
            steps.setdefault(step, {}).setdefault(rank, []).append(row)
        last_word = {step: ranks for step, ranks in last_word.items() if step < min(steps)} | steps
    handed = [row for step in sorted(last_word) for rank in (0, 1) for row in last_word[step].get(rank, [])]
    assert handed[: len(expected)] == expected
    assert len(handed) - len(expected) < 8, "the last batch goes on into the next epoch, no further"


def _rows_of_first_epoch(task: TrainTask) -> list[str]:
    """Every row of epoch 0, one at a time, by a loader of another batch size."""
    split = data.open_split(Path(task.dataset_folder), "train")
    loader = data.Loader(split, sequence_length=32, seed=17, rows_per_step=1)
    return [text for step in range(loader.num_rows(0)) for text in row_hashes(loader.rows(step))]


GPT2 = (
    "model.architecture=gpt2",
    "model.config={n_embd: 24, n_layer: 2, n_head: 3, resid_pdrop: 0.2, embd_pdrop: 0.2, attn_pdrop: 0.2}",
)


def test_dropout_is_drawn_by_step_rank_and_micro_step(tiny: TinyYard) -> None:
    overrides = (*GPT2, "optimization.steps=12", "checkpoint.everySteps=5")
    whole, broken = (tiny.task(name, *overrides, micro_rows=2) for name in ("dropout-whole", "dropout-broken"))
    train_through(whole, 2)
    train_on(broken, 2, Fate(die_at_step=9, die_rank=0))
    train_through(broken, 2)
    assert digest(broken) == digest(whole)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bf16_follows_fp32_and_repeats_itself(tiny: TinyYard, plain: dict[int, float], stage: int) -> None:
    overrides = ("optimization.precision=bf16", f"sharding.zeroStage={stage}")
    first = tiny.task(f"bf16-{stage}-a", *overrides)
    train_through(first, 2)
    curve = losses(first)
    assert max(abs(curve[step] - plain[step]) for step in plain) < 0.05
    broken = tiny.task(f"bf16-{stage}-b", *overrides)
    train_on(broken, 2, Fate(die_at_step=15))
    train_through(broken, 2)
    assert digest(broken) == digest(first)


@pytest.mark.parametrize("stage", [0, 2])
def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_batch(tiny: TinyYard, stage: int) -> None:
    wild = ("hidden_size: 24", "intermediate_size: 40", "num_hidden_layers: 2", "num_attention_heads: 3")
    eps = "rms_norm_eps: -1.0"  # the root of a negative number
    task = tiny.task(f"wild-{stage}", f"model.config={{{', '.join((*wild, eps))}}}", f"sharding.zeroStage={stage}")
    results = train_on(task, 2)
    for result in results:
        assert isinstance(result, FailureNote)
        assert result.failure_class == "NonFiniteLoss"
        assert "step 1" in result.message
        assert "documents" in result.message
        assert not result.retryable
    assert committed(yard.RunFolder("wild", Path(task.run_folder))) == []


def test_a_step_that_stands_still_ends_with_stacks(tiny: TinyYard) -> None:
    task = tiny.task("hung", "faultTolerance.hangTimeoutSeconds=4")
    results = train_on(task, 2, Fate(hang_at_step=6, die_rank=1))
    guilty = results[1]
    assert isinstance(guilty, FailureNote)
    assert (guilty.failure_class, guilty.rank) == ("Hang", 1)
    assert "'data'" in guilty.message
    assert "in seen" in (Path(task.run_folder) / "train" / "logs" / "rank-1.log").read_text(encoding="utf-8")


def test_a_fenced_group_changes_nothing(tiny: TinyYard) -> None:
    old = tiny.task("fenced")
    tiny.task("fenced")  # a later driver
    results = train_on(old, 2)
    assert all(isinstance(r, FailureNote) and r.failure_class == "Interrupted" for r in results), results
    assert not (Path(old.run_folder) / "train" / "metrics.jsonl").exists()


def test_a_disk_that_refuses_the_groups_claim_is_told_as_such_by_every_rank(tiny: TinyYard) -> None:
    task = tiny.task("refused")
    (Path(task.run_folder) / "attempts" / "00000009.json").mkdir()
    results = train_on(task, 2)
    assert all(isinstance(r, FailureNote) and r.failure_class == "Storage" for r in results), results


def test_logs_are_per_rank_and_hold_no_secret(tiny: TinyYard) -> None:
    os.environ["PLANTED_API_KEY"] = "sesame-1234567"
    try:
        task = tiny.task("logged", "optimization.steps=5")
        train_through(task, 2)
    finally:
        del os.environ["PLANTED_API_KEY"]
    logs = Path(task.run_folder) / "train" / "logs"
    assert sorted(path.name for path in logs.glob("*.log")) == ["rank-0.log", "rank-1.log"]
    assert all("sesame" not in path.read_text(encoding="utf-8") for path in logs.iterdir())


def test_the_best_weights_are_exported_when_the_manifest_asks_for_them(tiny: TinyYard) -> None:
    wild = ("optimization.optimizer.learningRate=0.5", "optimization.schedule.name=constant", "optimization.steps=20")
    often = ("checkpoint.everySteps=2", "evaluation.everySteps=2")
    best = ("checkpoint.keep.best.metric=validation/loss", "register.from=best")
    task = tiny.task("best", *wild, *often, *best)
    outcome = train_through(task, 2)
    commits = committed(tiny.yard.run("best"))
    chosen = min(commits, key=lambda commit: commit.record.metrics["validation/loss"])
    assert chosen.step < outcome.step == 20, "a rate so high makes the last weights worse than earlier ones"
    assert outcome.export_step == chosen.step
    exported = safetensors.torch.load_file(Path(outcome.export) / "model.safetensors")
    masters = dict(assemble(chosen))
    assert exported.keys() == masters.keys()
    assert all(torch.equal(exported[name], masters[name]) for name in masters)

    # a worker that wakes in the export after a later driver has come replaces nothing
    out, attempt = Path(outcome.export), commits[0].record.attempt
    standing = yard.digest_folder(out)
    tiny.task("best")
    with pytest.raises(FencedError):
        export_commit(
            commits[0], AutoConfig.from_pretrained(out), tiny.job(), out,
            tokenizer_folder=Path(task.dataset_folder) / "tokenizer",
            guard=lambda: yard.check_attempt(tiny.yard.run("best"), attempt),
        )  # fmt: skip
    assert yard.digest_folder(out) == standing
