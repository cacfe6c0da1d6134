"""What the driver hands to the workers and gets back: plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainTask:
    """Everything a worker needs to train a run, from any step on.

    `manifest` is the resolved TrainingJob as text; paths are absolute or relative to the worker's folder.
    `model_folder` holds the weights to start from (`model.from`), if any. `micro_rows` caps the rows of a micro-step
    (None: as many as fit 16,384 positions); it changes no result beyond rounding.
    """

    run_folder: str
    yard_root: str
    root: str
    manifest: str
    dataset_folder: str
    driver_attempt: int
    model_folder: str | None = None
    micro_rows: int | None = None


@dataclass(frozen=True)
class Place:
    """Which worker this is: rank of `world`, and where rank 0 listens. `local_rank` is its place on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    master_address: str = "127.0.0.1"
    master_port: int = 0
    threads: int = 1
    use_gpu: bool = False


@dataclass(frozen=True)
class TrainOutcome:
    """How training ended. `stopped`: it was asked to stop, is committed, and can go on.

    `checkpoint` and `export` are folders; `export` is empty when training stopped early. `export_step` is the step of
    the exported weights: the last, or the best.
    """

    step: int
    total_steps: int
    tokens: int
    loss: float | None
    stopped: bool
    checkpoint: str
    export: str = ""
    export_step: int = 0
    parameters: int = 0


@dataclass(frozen=True)
class WorkerFailure:
    """One failure of the worker group: the first cause. `failure_class` is the status document's word."""

    failure_class: str
    message: str
    rank: int | None = None
    step: int | None = None
    evidence: tuple[str, ...] = ()
    retryable: bool = True
    hint: str = ""
    log: str = ""
