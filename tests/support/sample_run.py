"""Yards with a run as the records would tell it, made without training: for what only reads records."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.records import (
    AttemptRecord,
    CheckpointState,
    Condition,
    DatasetRecord,
    EvaluationRecord,
    FailureDigest,
    FailurePlace,
    FileDigest,
    GateResult,
    Metrics,
    MetricValue,
    ModelState,
    Progress,
    Record,
    SourceFile,
    SourceRecord,
    StageOutput,
    StageRecord,
    StatusDocument,
    SuiteResult,
    VersionRecord,
)
from modelyard.telemetry import RowWriter
from modelyard.yard import RunFolder, Yard, open_yard, publish

RUN_ID = "quickstart-5f2c91ab"
ENVIRONMENT = {
    "modelyard": "0.1.0+src.0123456789ab",
    "python": "3.11.7",
    "machine": "Linux 6.1.0 x86_64, 2 CPUs",
    "torch": "2.13.0",
    "ray": "2.60.0",
    "environmentVariables": "OMP_NUM_THREADS RAY_USAGE_STATS_ENABLED",
}
MANIFEST = """apiVersion: modelyard.dev/v1alpha1
kind: TrainingJob
metadata:
  name: quickstart
spec:
  objective: causal-lm
  model:
    architecture: llama
    config: {hidden_size: 192, intermediate_size: 512, num_hidden_layers: 4, num_attention_heads: 6}
  data:
    train:
      - {name: stdlib, path: corpus/train/*.jsonl, format: jsonl}
  optimization: {steps: 480, globalBatchTokens: 2048}
  register: {name: quickstart, aliases: [candidate]}
"""


@dataclass
class Sample:
    """What to write; change a part before `write`. Times are seconds after 17:00."""

    yard: Yard
    phase: str = "Succeeded"
    steps: int = 480
    total_steps: int = 480
    restart_at: int | None = 210
    source_name: str = "stdlib"
    shared_documents: int = 0
    manifest: str = MANIFEST
    failure: FailureDigest | None = None
    stages: tuple[str, ...] = ("prepare", "train", "evaluate", "register")
    run: RunFolder = field(init=False)

    def __post_init__(self) -> None:
        self.run = self.yard.run(RUN_ID)

    def write(self) -> RunFolder:
        """Write all records and return the run."""
        if "prepare" in self.stages:
            put(self.yard.dataset_folder(DATASET) / "dataset.json", self.dataset())
        for number, (name, begin, end) in enumerate(SPANS):
            if name in self.stages:
                put(self.run.stages(name), self.stage(name, begin, end, number))
        for row in self.rows():
            RowWriter(self.run.metrics).write(row)
        if self.steps:
            started = {"event": "TrainingStarted", "startSeconds": {"group": 12.2, "first_step": 0.4}}
            RowWriter(self.run.events).write(started)
        for claim in self.attempts():
            put(self.run.attempts / f"{claim.attempt:08d}.json", claim)
        if "evaluate" in self.stages:
            put(self.yard.root / EVALUATION, evaluation())
        if "register" in self.stages:
            put(self.yard.model_folder("quickstart", 3) / "version.json", version())
        publish(self.run.manifest, self.manifest.encode())
        publish(self.run.resolved, (self.manifest + "  workers: {count: 2}\n").encode())
        put(self.run.status, self.status())
        return self.run

    def status(self) -> StatusDocument:
        done = self.phase == "Succeeded"
        last = {"Succeeded": ("Complete", "Completed"), "Failed": ("Failed", "NonFiniteLoss")}.get(self.phase)
        conditions = [Condition(type="Accepted", status="True", reason="Resolved", last_transition_time=at(0))]
        if last:
            conditions.append(Condition(type=last[0], status="True", reason=last[1], last_transition_time=at(290)))
        return StatusDocument(
            kind="TrainingJob",
            name="quickstart",
            phase=self.phase,
            conditions=tuple(conditions),
            run_id=RUN_ID,
            attempts=len(self.attempts()),
            start_time=at(0),
            completion_time=at(290) if last else None,
            progress=Progress(stage="register", step=0),
            metrics=Metrics(loss=3.9),
            checkpoint=CheckpointState(
                step=self.steps // 50 * 50, path="train/checkpoints/step-00000450.a2", time=at(250)
            ),
            model=ModelState(name="quickstart", version=3, digest=digest("version")) if done else None,
            last_failure=self.failure,
        )

    def dataset(self) -> DatasetRecord:
        train = ("train", 1402, {"empty": 12, "invalid utf-8": 1}, 1_930_112, 529_142)
        validation = ("validation", 231, {}, 340_021, 93_377)
        return DatasetRecord(
            digest=DATASET,
            tokenizer_digest=digest("tokenizer"),
            vocab_size=4096,
            sources=tuple(self.source(*split) for split in (train, validation)),
            files=(FileDigest(path="train/tokens.bin", size_bytes=1_058_284, sha256=digest("tokens")),),
            shared_documents=self.shared_documents,
            created=at(8),
            environment=ENVIRONMENT,
        )

    def source(
        self, split: str, documents: int, excluded: dict[str, int], text_bytes: int, tokens: int
    ) -> SourceRecord:
        size = text_bytes + 90_000
        file = SourceFile(path=f"corpus/{split}/stdlib.jsonl", size_bytes=size, mtime_ns=1, sha256=digest(split))
        return SourceRecord(
            name=self.source_name,
            split=split,
            format="jsonl",
            files=(file,),
            records=documents + sum(excluded.values()),
            documents=documents,
            excluded=excluded,
            text_bytes=text_bytes,
            tokens=tokens,
        )

    def stage(self, name: str, begin: int, end: int, number: int) -> StageRecord:
        outputs = {
            "prepare": (StageOutput(name="dataset", path=f"data/{DATASET[7:23]}", digest=DATASET),),
            "evaluate": (StageOutput(name="evaluation", path=EVALUATION, digest=digest("evaluation")),),
        }
        return StageRecord(
            stage=name,
            input_digest=digest(name),
            attempt=1,
            code_version=ENVIRONMENT["modelyard"],
            outputs=outputs.get(name, ()),
            started=at(begin),
            completed=at(end),
            environment=ENVIRONMENT,
            details={"summary": SUMMARIES[number]},
        )

    def attempts(self) -> tuple[AttemptRecord, ...]:
        first = _claim(1, "driver", 1, 0), _claim(2, "group", 1, 20)
        return first if self.restart_at is None else (*first, _claim(3, "group", 1, 130))

    def rows(self) -> list[dict[str, Any]]:
        chance = random.Random(17)
        rows = [{**_row(step, 2, chance), "totalSteps": self.total_steps} for step in range(1, self.steps + 1)]
        if self.restart_at is not None:  # steps after the last commit were trained twice; the later attempt wins
            lost = [_row(step, 2, chance) for step in range(self.restart_at - 10, self.restart_at)]
            rows = rows[: self.restart_at - 10] + lost + [{**row, "attempt": 3} for row in rows[self.restart_at - 10 :]]
        return rows


SPANS = (("prepare", 1, 9), ("train", 9, 262), ("evaluate", 262, 281), ("register", 281, 284))
SUMMARIES = (
    "1 402 documents, 529 142 tokens",
    "480 steps, loss 3.94",
    "heldout: 2.268 bits per byte",
    "quickstart@3, alias candidate",
)


def sample_yard(folder: Path) -> Yard:
    """An empty yard below `folder`."""
    return open_yard(folder / "yard")


def non_finite() -> FailureDigest:
    """A digest as a diverged run leaves it."""
    return FailureDigest(
        failure_class="NonFiniteLoss",
        message="the loss of step 133 is not finite; the weights were left as they were before it",
        where=FailurePlace(stage="train", step=133, rank=1),
        evidence=(
            "step 131 loss 7.91 gradient norm 18.2",
            "step 132 loss 11.4 gradient norm 240.9",
            "step 133 loss nan",
        ),
        hint="lower optimization.optimizer.learningRate (now 0.4), or lengthen schedule.warmupSteps",
    )


def evaluation() -> EvaluationRecord:
    """A passed evaluation with intervals and references."""
    bits = MetricValue(suite="heldout", metric="bits_per_byte", value=2.2682, low=2.2391, high=2.3007, items=231)
    perplexity = MetricValue(suite="heldout", metric="perplexity", value=306.4, low=289.0, high=327.9, items=231)
    accuracy = MetricValue(suite="heldout", metric="token_accuracy", value=0.2604, low=0.2541, high=0.2668, items=231)
    return EvaluationRecord(
        model="quickstart@3",
        model_digest=digest("export"),
        suites=(
            SuiteResult(
                name="heldout",
                task="perplexity",
                items=231,
                metrics=(bits, perplexity, accuracy),
                references={"unigram_bits_per_byte": 2.8304, "xz_bits_per_byte": 2.0711},
            ),
        ),
        gates=(
            GateResult(
                metric="heldout/bits_per_byte", rule="atMost", bound=2.5, verdict="Passed", value=2.2682, low=2.2391,
                high=2.3007,
            ),
        ),
        verdict="Passed",
        created=at(280),
        seconds=17.2,
        environment=ENVIRONMENT,
    )  # fmt: skip


def version() -> VersionRecord:
    """The registered version."""
    return VersionRecord(
        name="quickstart",
        version=3,
        digest=digest("version"),
        files=(FileDigest(path="model.safetensors", size_bytes=13_200_000, sha256=digest("weights")),),
        run_id=RUN_ID,
        spec_digest=digest("spec"),
        training_digest=digest("training"),
        dataset_digest=DATASET,
        code_version=ENVIRONMENT["modelyard"],
        step=480,
        parameters=3_343_296,
        created=at(283),
    )


def digest(text: str) -> str:
    """A digest that is the same in every run of the tests."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def at(seconds: int) -> str:
    """A time on the day of the sample."""
    return f"2026-11-22T17:{seconds // 60:02d}:{seconds % 60:02d}Z"


def put(path: Path, record: Record) -> None:
    publish(path, record.to_json())


def _claim(attempt: int, role: str, driver: int, second: int) -> AttemptRecord:
    return AttemptRecord(
        attempt=attempt,
        role=role,
        driver=driver,
        host="workstation",
        pid=4242,
        process_start="1",
        claimed=at(second),
    )


def _row(step: int, attempt: int, chance: random.Random) -> dict[str, Any]:
    rate = 0.004 * min(1.0, step / 20) * (0.1 + 0.9 * (1 + math.cos(math.pi * min(1.0, step / 480))) / 2)
    seconds = 0.455 + abs(chance.gauss(0, 0.03)) + (0.9 if chance.random() < 0.01 else 0)
    row = {
        "attempt": attempt,
        "step": step,
        "loss": 3.75 + 4.6 * math.exp(-step / 60) + 0.5 * math.exp(-step / 250) + chance.gauss(0, 0.09),
        "gradNorm": 0.5 + 2.4 * math.exp(-step / 25) + abs(chance.gauss(0, 0.08)),
        "learningRate": rate,
        "tokens": step * 2048,
        "stepSeconds": seconds,
        "tokensPerSecond": 2048 / seconds,
        "dataSeconds": 0.002,
        "forwardBackwardSeconds": seconds * 0.78,
        "optimizerSeconds": seconds * 0.16,
        "time": at(20 + step // 2),
    }
    if step % 50 == 0:
        row["checkpointSeconds"] = 0.3
    if step % 100 == 0 or step == 480:
        row["validationLoss"] = 3.85 + 4.6 * math.exp(-step / 60) + 0.55 * math.exp(-step / 250)
    return row


DATASET = digest("dataset")
EVALUATION = f"runs/{RUN_ID}/evaluate/evaluation-0123456789abcdef.json"
