"""The parts of one start of training, in order: group, data, module, engine, checkpoint; then loop and export.

Constructed by `worker.py`, once per start, on every rank. What is decided lies elsewhere: plan, batches, schedules.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelyard import checkpoint, spec, yard
from modelyard.checkpoint import Commit, CommitFacts, Keep
from modelyard.checkpoint.zero import engine_state, process_ranks
from modelyard.data import Loader, Rows, open_split
from modelyard.errors import FencedError, NonFiniteLossError, StorageError
from modelyard.model import TokenizerFacts, build
from modelyard.records import DatasetRecord
from modelyard.telemetry import Events, utc_now
from modelyard.text import open_tokenizer
from modelyard.train.batches import Batch, chance_seed, make_batch, num_micro_steps
from modelyard.train.export import export_commit
from modelyard.train.group import WorkerGroup
from modelyard.train.journal import Journal
from modelyard.train.loop import LoopParts, Position, StepRecord, train
from modelyard.train.objectives import open_objective
from modelyard.train.plan import rows_per_step, total_steps
from modelyard.train.schedules import learning_rate
from modelyard.train.startup import StartClock
from modelyard.train.task import Place, TrainOutcome, TrainTask
from modelyard.train.validation import Validation
from modelyard.train.watch import WAITING
from modelyard.train.zero import EnginePlan, join_group, leave_group, open_engine


class Trainer:
    """One rank's training of a run. A context: leaving it leaves the process group."""

    def __init__(
        self,
        task: TrainTask,
        job: spec.TrainingJob,
        run: yard.RunFolder,
        place: Place,
        *,
        phase: Callable[[int, str], None],
        seen: Callable[[int, object], None],
        clock: StartClock,
    ) -> None:
        self.task, self.job, self.run_folder, self.place = task, job, run, place
        self.phase, self.seen = phase, seen
        self.clock = clock
        self.clock.lap("imports")
        self._stack = ExitStack()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> TrainOutcome:
        """Open the parts, train, export."""
        self._join()
        self._open_data()
        self._open_engine()
        position = self._restore()
        end = train(self._parts(), position)
        return self._finish(end)

    def _join(self) -> None:
        place, optimization = self.place, self.job.spec.optimization
        torch.set_num_threads(place.threads)
        self.device = _device(place)
        timeout = float(self.job.spec.fault_tolerance.hang_timeout_seconds)
        self.phase(0, WAITING)
        join_group(place, self.device, timeout_seconds=timeout)
        self._stack.callback(leave_group)
        self.group = WorkerGroup(place.rank, place.world, self.device)
        self.ranks = process_ranks()
        self.attempt = self._claim()
        self.seed = optimization.seed
        self.clock.lap("join")

    def _claim(self) -> int:
        """The group's attempt: claimed by rank 0, told to all; a refusal is raised on all."""
        word: dict[str, Any] = {}
        if self.place.rank == 0:
            try:
                names = lambda: checkpoint.committed_names(self.run_folder)  # noqa: E731
                word = {"attempt": yard.claim_group(self.run_folder, driver=self.task.driver_attempt, commits=names)}
            except FencedError as error:
                word = {"fenced": str(error)}
            except StorageError as error:
                word = {"storage": str(error)}
        word = self.group.from_first(word)
        if "fenced" in word:
            raise FencedError(word["fenced"])
        if "storage" in word:
            raise StorageError(word["storage"])
        return int(word["attempt"])

    def _open_data(self) -> None:
        self.phase(0, "opening the data")
        data, folder = self.job.spec.data, Path(self.task.dataset_folder)
        self.dataset = yard.read_record(folder / "dataset.json", DatasetRecord)
        self.tokenizer = open_tokenizer(folder / "tokenizer")
        self.num_rows = rows_per_step(self.job)
        self.loader = Loader(
            open_split(folder, "train"), sequence_length=data.sequence_length, seed=self.seed,
            rows_per_step=self.num_rows, packing=data.packing, passes={s.name: s.passes for s in data.train},
        )  # fmt: skip
        self.total_steps = total_steps(self.job, self.loader)
        self.micro_steps = num_micro_steps(self.num_rows, self.place.world, data.sequence_length, self.task.micro_rows)
        self.clock.lap("data")

    def _open_engine(self) -> None:
        self.phase(0, "building the model")
        wish, optimization, sharding = self.job.spec.model, self.job.spec.optimization, self.job.spec.sharding
        tokenizer, data = self.tokenizer, self.job.spec.data
        module = build(
            wish,
            facts=TokenizerFacts(tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id),
            sequence_length=data.sequence_length,
            folder=Path(self.task.model_folder) if self.task.model_folder else None,
            seed=self.seed,
        )
        self.config = module.config
        self.objective = open_objective(self.job.spec.objective, module, packing=data.packing)
        self.clock.lap("model")
        self.phase(0, "starting the engine")
        plan = EnginePlan(
            zero_stage=sharding.zero_stage,
            precision=optimization.precision,
            micro_steps=self.micro_steps,
            micro_rows=-(-self.num_rows // (self.place.world * self.micro_steps)),
            gradient_clipping=optimization.gradient_clipping,
            peak_learning_rate=optimization.optimizer.learning_rate,
            betas=optimization.optimizer.betas,
            weight_decay=optimization.optimizer.weight_decay,
            activation_checkpointing=sharding.activation_checkpointing,
            overrides=sharding.deepspeed,
        )
        self.engine = open_engine(module, plan, world=self.place.world, device=self.device)
        self._stack.callback(self.engine.close)
        self.state = engine_state(self.engine.raw)
        self.clock.lap("engine")

    def _restore(self) -> Position:
        self.phase(0, "restoring")
        found = checkpoint.latest(self.run_folder, ranks=self.ranks)
        self.events = Events(self.run_folder.events, attempt=self.attempt)
        self.journal = Journal(
            self.run_folder.metrics, self.run_folder.tensorboard, attempt=self.attempt, total_steps=self.total_steps
        )
        self._stack.callback(self.journal.close)
        self.commit: Commit | None = found.commit
        if self.place.rank == 0:
            for warning in found.warnings:
                self.events.add("CheckpointSkipped", message=warning)
        if found.commit is None:
            self.clock.lap("restore")
            return Position()
        checkpoint.restore(
            self.state, found.commit, ranks=self.ranks,
            training_digest=spec.training_digest(self.job), dataset_digest=self.dataset.digest,
        )  # fmt: skip
        self.clock.lap("restore")
        record = found.commit.record
        return Position(record.step, record.tokens, record.metrics.get("loss"))

    def _parts(self) -> LoopParts:
        evaluation, optimization = self.job.spec.evaluation, self.job.spec.optimization
        self.validation = self._open_validation()
        return LoopParts(
            total_steps=self.total_steps,
            evaluate_every=(evaluation.every_steps or self.total_steps) if self.validation else None,
            checkpoint_every=self.job.spec.checkpoint.every_steps,
            workers=self.group,
            engine=self.engine,
            objective=self.objective,
            batch=self._batch,
            learning_rate=lambda step: learning_rate(
                optimization.optimizer.learning_rate, optimization.schedule, step, self.total_steps
            ),
            set_chance=self._set_chance,
            stop_wished=self._stop_wished,
            evaluate=self._evaluate,
            checkpoint=self._checkpoint,
            record=self._record,
            phase=self.phase,
            non_finite=self._non_finite,
        )

    def _open_validation(self) -> Validation | None:
        data, folder = self.job.spec.data, Path(self.task.dataset_folder)
        if not (folder / "validation").is_dir():
            return None
        split = open_split(folder, "validation")
        if not split.documents:
            return None
        return Validation(
            split, sequence_length=data.sequence_length, packing=data.packing, rows_at_once=self.num_rows,
            micro_steps=self.micro_steps, group=self.group, device=self.device,
        )  # fmt: skip

    def _batch(self, step: int) -> Batch:
        rows = self.loader.rows(step - 1, self.place.rank, self.place.world)
        self.seen(step, rows)
        return make_batch(rows, self.micro_steps, self.device)

    def _set_chance(self, step: int, micro_step: int) -> None:
        seed = chance_seed(self.seed, step, self.place.rank, micro_step)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # a model's own code may draw from the global generator

    def _stop_wished(self) -> bool:
        if self.place.rank:
            return False
        try:
            wish = json.loads(self.run_folder.control.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(wish.get("stop")) and int(wish.get("attempt", self.task.driver_attempt)) >= self.task.driver_attempt

    def _evaluate(self) -> float:
        assert self.validation is not None
        return self.validation.loss(self.objective, self.engine, self.engine.module.train)

    def _record(self, record: StepRecord) -> None:
        if self.clock.open:
            self.clock.lap("first_step")
            if self.place.rank == 0:
                self._tell_start(record.step)
        if self.place.rank == 0:
            self.journal.step(record)

    def _tell_start(self, step: int) -> None:
        self.events.add(
            "TrainingStarted", step=step, totalSteps=self.total_steps, workers=self.place.world,
            microSteps=self.micro_steps, threads=self.place.threads, device=str(self.device),
            parameters=self._num_parameters(), startSeconds=self.clock.close(),
        )  # fmt: skip

    def _checkpoint(self, record: StepRecord) -> None:
        began = time.perf_counter()
        metrics = {"loss": record.loss}
        if record.validation_loss is not None:
            metrics["validation/loss"] = record.validation_loss
        facts = CommitFacts(
            step=record.step, attempt=self.attempt, tokens=record.tokens,
            training_digest=spec.training_digest(self.job), dataset_digest=self.dataset.digest,
            metrics=metrics, created=utc_now(),
        )  # fmt: skip
        self.commit = checkpoint.save(self.state, self.run_folder, facts, ranks=self.ranks)
        if self.place.rank == 0:
            checkpoint.prune(self.run_folder, self._keep(), attempt=self.attempt)
            self.journal.committed(record, time.perf_counter() - began)

    def _keep(self) -> Keep:
        keep = self.job.spec.checkpoint.keep
        best = keep.best
        return Keep(last=keep.last, metric=best.metric if best else None, mode=best.mode if best else "min")

    def _non_finite(self, step: int, batch: Batch, what: str, loss_here: float) -> NonFiniteLossError:
        """The error that names the batch: documents of the ranks whose own loss is not finite (all, for a norm)."""
        mine = f"rank {self.place.rank}: {_documents(batch.rows)}"
        guilty = what != "loss" or not np.isfinite(loss_here)
        told = [text for text in self.group.gather(mine if guilty else "") if text]
        return NonFiniteLossError(
            f"step {step}: the {what} is not finite; the weights are those of step {step - 1}. "
            f"Batch: {'; '.join(told)}",
            hint="look at these documents, lower optimization.optimizer.learningRate, or lengthen the warm-up",
        )

    def _finish(self, end: Position) -> TrainOutcome:
        assert self.commit is not None
        stopped = end.step < self.total_steps
        export_step = 0 if stopped else self._export(end.step)
        self.group.barrier()
        return TrainOutcome(
            step=end.step,
            total_steps=self.total_steps,
            tokens=end.tokens,
            loss=end.loss,
            stopped=stopped,
            checkpoint=str(self.commit.folder),
            export="" if stopped else str(self.run_folder.export),
            export_step=export_step,
            parameters=self._num_parameters(),
        )

    def _export(self, step: int) -> int:
        """Rank 0 writes the folder that is registered; returns the step of its weights."""
        exported = 0
        if self.place.rank == 0:
            self.phase(step, "export")
            commit = self._chosen_commit()
            yard.sweep(self.run_folder.train, older_than_seconds=0)  # exports that fenced attempts did not finish
            export_commit(
                commit, self.config, self.job, self.run_folder.export,
                tokenizer_folder=Path(self.task.dataset_folder) / "tokenizer",
                guard=lambda: yard.check_attempt(self.run_folder, self.attempt),
            )  # fmt: skip
            exported = commit.step
        else:
            self.phase(step, WAITING)
        return int(self.group.from_first(exported))

    def _chosen_commit(self) -> Commit:
        """The last commit, or by the manifest's wish the best one (the last when no validation loss was finite)."""
        assert self.commit is not None
        best = self.job.spec.checkpoint.keep.best
        if self.job.spec.register.from_ == "last" or best is None:
            return self.commit
        found = checkpoint.best(checkpoint.committed(self.run_folder), best.metric, best.mode)
        if found is None:
            return self.commit
        checkpoint.verify(found)
        return found

    def _num_parameters(self) -> int:
        return sum(int(getattr(p, "ds_numel", p.numel())) for p in self.engine.module.parameters())


def _device(place: Place) -> torch.device:
    if place.use_gpu and torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _documents(rows: Rows) -> str:
    """Which documents of the prepared training split, by index, and the epoch."""
    ids = sorted({int(row[1]) for row in rows.documents})
    shown = ", ".join(map(str, ids[:20])) + (", …" if len(ids) > 20 else "")
    return f"documents {shown} of the training split (epoch {int(rows.documents[0][4])})" if ids else "no documents"
