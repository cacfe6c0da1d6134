"""The train stage: launch the worker group, watch what it writes, pass a wish to stop on to it, keep its export."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from modelyard import train
from modelyard import yard as yards
from modelyard.checkpoint import committed
from modelyard.errors import BadDataError, FencedError, ModelyardError
from modelyard.records import CheckpointState, Progress, StageOutput, StageRecord
from modelyard.spec import TrainingJob
from modelyard.spec.reasons import Reason
from modelyard.workflow import preparing
from modelyard.workflow.attempt import Attempt
from modelyard.workflow.base_model import base_model
from modelyard.workflow.follow import Follower
from modelyard.workflow.news import Note, Progressed
from modelyard.workflow.stages import Made, output

_POLL_SECONDS = 0.25


def work(attempt: Attempt[TrainingJob]) -> Made:
    """Train to the last step. Raises StoppedError when asked to stop (committed), TrainingError, StorageError."""
    from modelyard.train import on_ray

    base = base_model(attempt)
    dataset = preparing.dataset(attempt).digest
    _check_text(attempt, dataset)
    task = train.TrainTask(
        run_folder=str(attempt.folder.path),
        yard_root=str(attempt.yard.root),
        root=str(attempt.root),
        manifest=attempt.job.model_dump_json(by_alias=True, exclude_none=True),
        dataset_folder=str(attempt.yard.dataset_folder(dataset)),
        model_folder=str(base.folder) if base else None,
        driver_attempt=attempt.lease.attempt,
    )
    attempt.ray.ready()
    count = attempt.job.spec.workers.count
    attempt.board.tell(Note(f"starting {count} worker{'s' if count > 1 else ''}"))
    with _watched(attempt):
        outcome = on_ray.launch(task, workers=attempt.job.spec.workers, on_failure=_told_to(attempt))
    if outcome.stopped:
        raise attempt.stop.error()
    folder = Path(outcome.export)
    digest, files = yards.digest_folder(folder)
    return Made(
        outputs=(StageOutput(name="export", path=str(folder.relative_to(attempt.yard.root)), digest=digest),),
        summary=f"{outcome.step:,} steps, {outcome.tokens:,} tokens, loss {outcome.loss or 0.0:.3f}",
        details={
            "step": outcome.export_step,
            "tokens": outcome.tokens,
            "loss": outcome.loss,
            "parameters": outcome.parameters,
            "sizes": {file.path: file.size_bytes for file in files},
        },
    )


def stands(attempt: Attempt[TrainingJob], record: StageRecord) -> bool:
    """Whether the exported files are there in their sizes; with --verify, whether their bytes are those recorded."""
    made = output(record, "export")
    folder = attempt.yard.root / made.path
    sizes: dict[str, int] = record.details.get("sizes", {})
    if not sizes or any(
        not (folder / name).is_file() or (folder / name).stat().st_size != size for name, size in sizes.items()
    ):
        return False
    return not attempt.options.verify or yards.digest_folder(folder)[0] == made.digest


def export_folder(attempt: Attempt[TrainingJob]) -> Path:
    """The Hugging Face folder that the train stage left."""
    return attempt.yard.root / output(attempt.records["train"], "export").path


def _check_text(attempt: Attempt[TrainingJob], dataset: str) -> None:
    """Raise BadDataError when the run has trained on other text: the workers would find out once they are up."""
    newest = next(iter(committed(attempt.folder)), None)
    if newest and newest.record.dataset_digest != dataset:
        raise BadDataError(
            f"the run's checkpoint of step {newest.step:,} was trained on dataset {newest.record.dataset_digest}; "
            f"what the sources give now is dataset {dataset}",
            hint="put the old sources back, or start anew with --fresh",
        )


def _told_to(attempt: Attempt[TrainingJob]) -> Callable[[train.WorkerFailure], None]:
    """What happens at each failure of the group, before it is decided whether it starts again."""

    def told(failure: train.WorkerFailure) -> None:
        rank = f" (rank {failure.rank})" if failure.rank is not None else ""
        attempt.board.tell(Note(f"worker group failed{rank}: {failure.message}", warning=True))
        attempt.board.condition("Progressing", "True", Reason.RESTARTING, failure.message)

    return told


@contextmanager
def _watched(attempt: Attempt[TrainingJob]) -> Iterator[None]:
    """Beside the launch, a thread that follows metrics.jsonl and passes the wish to stop on."""
    done = threading.Event()
    watch = _Watch(attempt)
    thread = threading.Thread(target=watch.until, args=(done,), name="train-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Watch:
    """What the driver knows of the workers while they train."""

    def __init__(self, attempt: Attempt[TrainingJob]) -> None:
        self._attempt = attempt
        self._metrics = Follower(attempt.folder.metrics, from_end=True)
        self._recent: deque[float] = deque(maxlen=20)
        self._told_to_stop = False
        self._at_work = False
        self._fenced = False

    def until(self, done: threading.Event) -> None:
        """Poll until the launch has returned, then once more for the last rows."""
        while not done.wait(_POLL_SECONDS):
            self._poll()
        self._poll()

    def _poll(self) -> None:
        if self._fenced:  # the rows are a later attempt's; the workers learn at their next commit that they are fenced
            return
        try:
            self._pass_on_stop()
            rows = self._metrics.poll()
            if rows:
                self._attempt.lease.check()
            for row in rows:
                self._take(row)
        except FencedError:
            self._fenced = True
        except (OSError, ModelyardError) as error:  # watching must not end the training it watches
            with suppress(OSError, ModelyardError):  # nor may telling of it, which writes to the same disk
                self._attempt.board.tell(Note(f"progress could not be recorded: {error}", warning=True))

    def _pass_on_stop(self) -> None:
        if self._attempt.stop.asked and not self._told_to_stop:
            yards.replace(
                self._attempt.folder.control,
                b'{"stop": true, "attempt": %d}\n' % self._attempt.lease.attempt,
                guard=self._attempt.lease.check,
            )
            self._told_to_stop = True
            when = "commit at the end of this step" if self._at_work else "stop once they have started"
            self._attempt.board.tell(Note(f"stopping: the workers {when}"))

    def _take(self, row: dict[str, Any]) -> None:
        if row.get("attempt", 0) < self._attempt.lease.attempt or "step" not in row:
            return
        self._at_work = True
        if "stepSeconds" in row:
            self._recent.append(float(row["stepSeconds"]))
        total = row.get("totalSteps")
        left = (total - row["step"]) * statistics.median(self._recent) if total and self._recent else None
        self._attempt.board.progress(
            Progressed(
                Progress(
                    stage="train",
                    step=row["step"],
                    total_steps=total,
                    tokens=row.get("tokens", 0),
                    tokens_per_second=row.get("tokensPerSecond"),
                    eta_seconds=left,
                ),
                loss=row.get("loss"),
                validation_loss=row.get("validationLoss"),
            )
        )
        if "checkpointSeconds" in row:
            self._committed()

    def _committed(self) -> None:
        newest = next(iter(committed(self._attempt.folder)), None)
        if newest:
            path = str(newest.folder.relative_to(self._attempt.folder.path))
            state = CheckpointState(step=newest.step, path=path, time=newest.record.created)
            self._attempt.board.update(checkpoint=state)
