"""Records from which one walks back from a model version to the documents it was trained on."""

from __future__ import annotations

from typing import Any, Literal

from modelyard.records.record import Part, Record
from modelyard.records.status import MetricValue, Verdict


class FileDigest(Part):
    """A file as recorded: size in bytes; `path` relative to the folder that the record describes."""

    path: str
    size_bytes: int
    sha256: str


class SourceFile(Part):
    """An input file: recognised by path, size and mtime (nanoseconds), proved by its sha256."""

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str


class SourceRecord(Part):
    """One named source of a split and what became of its records.

    records == documents + sum(excluded.values()) holds for every source.
    """

    name: str
    split: str
    format: str
    files: tuple[SourceFile, ...]
    records: int
    documents: int
    excluded: dict[str, int]
    text_bytes: int
    tokens: int


class DatasetRecord(Record):
    """A prepared dataset: `data/<digest>/dataset.json`. `text_bytes` are UTF-8 bytes of the documents kept.

    `shared_documents` are validation documents whose very text stands in train too.
    """

    digest: str
    tokenizer_digest: str
    vocab_size: int
    sources: tuple[SourceRecord, ...]
    files: tuple[FileDigest, ...]
    shared_documents: int = 0
    created: str
    environment: dict[str, str] = {}


class StageOutput(Part):
    """A file or folder that a stage made; `path` relative to the yard."""

    name: str
    path: str
    digest: str


class StageRecord(Record):
    """A finished stage. It is skipped when this stands and `input_digest` is the same."""

    stage: str
    input_digest: str
    attempt: int
    code_version: str
    outputs: tuple[StageOutput, ...]
    started: str
    completed: str
    environment: dict[str, str] = {}
    details: dict[str, Any] = {}


class AttemptRecord(Record):
    """A claim on a run: the holder of the highest number writes, all others are fenced.

    A `driver` claim takes the run over; a `group` claim is a (re)start of the worker group below driver `driver`.
    `commits` are the checkpoint folders that counted when the claim was made: of earlier attempts no others count.
    `stages` are, by stage, the digests of the stage records that counted then, likewise.
    """

    attempt: int
    role: str
    driver: int
    host: str
    pid: int
    process_start: str
    boot_id: str = ""
    claimed: str
    commits: tuple[str, ...] = ()
    stages: dict[str, str] = {}
    pid_namespace: str = ""


class TensorRecord(Part):
    """A tensor of a checkpointed model. `dtype` is the model's own, in safetensors' words (F32, BF16).

    `aliases` are further names of the same tensor (tied embeddings).
    """

    name: str
    kind: Literal["master", "frozen", "buffer"]
    shape: tuple[int, ...]
    dtype: str
    aliases: tuple[str, ...] = ()


class CommitRecord(Record):
    """`COMMITTED.json`, written last into a checkpoint: what has none does not exist.

    `scalars` is what is the same on every worker: optimizer hyperparameters, counters, schedule.
    """

    step: int
    attempt: int
    tokens: int
    training_digest: str
    dataset_digest: str
    files: tuple[FileDigest, ...]
    scalars: dict[str, Any]
    created: str
    metrics: dict[str, float] = {}
    tensors: tuple[TensorRecord, ...] = ()


class Difference(Part):
    """What a metric differs by between target and baseline, over the documents that both scored, in pairs.

    `value` is target minus baseline. `low` and `high` are each the end of a one-sided interval at `confidence`; None
    with too few pairs. `items` are the pairs, `unpaired` the documents that only one of the two could score.
    """

    target: float
    baseline: float
    value: float
    low: float | None = None
    high: float | None = None
    confidence: float
    items: int
    unpaired: int = 0


class GateResult(Part):
    """One gate's verdict with the numbers that decided it; `difference` only where it compares with a baseline.

    `message` is the reason in words; that of a comparison also when it passed.
    """

    metric: str
    rule: str
    bound: float
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    message: str = ""
    difference: Difference | None = None


class SuiteResult(Part):
    """A suite's metrics; `items` were scored, `unscored` could not be (counted by reason, never taken as zero).

    `message` says in words why nothing was scored, when that is so.
    """

    name: str
    task: str
    items: int
    unscored: int = 0
    unscored_reasons: dict[str, int] = {}
    message: str = ""
    metrics: tuple[MetricValue, ...] = ()
    references: dict[str, float] = {}


class BaselineResult(Part):
    """What the target was compared with, and what the same suites gave of it.

    `missing` says in words that there was no such model; then `when_missing` was the verdict of comparisons.
    """

    model: str
    model_digest: str = ""
    missing: str = ""
    when_missing: Literal["fail", "pass"] = "fail"
    suites: tuple[SuiteResult, ...] = ()


class EvaluationRecord(Record):
    """What an evaluation found, and its verdict over all gates (None when there are no gates)."""

    model: str
    model_digest: str
    suites: tuple[SuiteResult, ...]
    gates: tuple[GateResult, ...] = ()
    verdict: Verdict | None = None
    baseline: BaselineResult | None = None
    created: str
    seconds: float = 0.0
    environment: dict[str, str] = {}


class VersionRecord(Record):
    """`version.json`: an immutable model version and where it came from."""

    name: str
    version: int
    digest: str
    files: tuple[FileDigest, ...]
    run_id: str
    spec_digest: str
    training_digest: str
    dataset_digest: str
    code_version: str
    parent: str | None = None
    step: int = 0
    parameters: int = 0
    verdict: Verdict | None = None
    metrics: tuple[MetricValue, ...] = ()
    created: str
    environment: dict[str, str] = {}


class AliasChange(Part):
    """One move of an alias; `version` 0 means removed."""

    version: int
    time: str
    by: str
    reason: str = ""


class AliasRecord(Record):
    """An alias with its history, newest last. `revision` is what compare-and-swap compares."""

    name: str
    alias: str
    version: int
    revision: int
    history: tuple[AliasChange, ...] = ()
