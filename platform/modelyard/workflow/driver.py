"""The driver: take the run, go through its stages, end in a status that is true whatever happened.

`run` is what the command line, the Python API and (on a cluster) the operator's entrypoint call.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard import report, telemetry
from modelyard import yard as yards
from modelyard.checkpoint import committed_names
from modelyard.errors import (
    FencedError,
    IntegrityError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    RunHeldError,
    StoppedError,
)
from modelyard.records import StatusDocument
from modelyard.spec import EvaluationJob, Manifest, TrainingJob, spec_digest, to_yaml, training_digest
from modelyard.workflow import evaluation_job, preparing, training_job
from modelyard.workflow.attempt import Attempt, RunOptions
from modelyard.workflow.board import Board, opening, rfc3339, utc_now
from modelyard.workflow.failures import as_modelyard_error, digest_of
from modelyard.workflow.news import Listener, Note, RunEnded
from modelyard.workflow.ray_session import RaySession
from modelyard.workflow.recorder import recorded
from modelyard.workflow.sinks import Sink, to_file
from modelyard.workflow.stages import run_stage
from modelyard.workflow.stop import StopRequest, stop_on_signals

log = logging.getLogger(__name__)
_DEFAULTS = RunOptions()
_HELD_POLL_SECONDS = 1.0  # how often a driver that waits for another one looks. By feel


def run_id(manifest: Manifest, namespace: str = "") -> str:
    """`<name>-<8 hex>`: of the training digest for a TrainingJob, of the spec digest for any other kind.

    On a cluster the namespace and a dot stand before it: one claim may serve several namespaces.
    """
    digest = training_digest(manifest) if isinstance(manifest, TrainingJob) else spec_digest(manifest)
    name = f"{manifest.metadata.name}-{digest.removeprefix('sha256:')[:8]}"
    return f"{namespace}.{name}" if namespace else name


def run(
    manifest: Manifest,
    *,
    root: Path,
    yard: yards.Yard,
    options: RunOptions = _DEFAULTS,
    listener: Listener = lambda news: None,
    sinks: Sequence[Sink] = (),
    stop: StopRequest | None = None,
) -> StatusDocument:
    """Run a TrainingJob or EvaluationJob to its end and return its last status.

    Everything done before stands and is skipped; Ctrl-C and SIGTERM commit and stop when called in the main thread.
    Raises the error that ended the run (after it was written into the status): GateFailedError, NoVerdictError,
    StoppedError, BadDataError, StorageError, RunHeldError, …
    """
    if not isinstance(manifest, TrainingJob | EvaluationJob):
        raise InvalidInputError(
            f"{manifest.kind} {manifest.metadata.name} is not a job that ends", hint="use `modelyard serve -f`"
        )
    folder = yard.run(run_id(manifest, options.namespace))
    wish = _Wish(manifest, folder, root, yard, options, listener, tuple(sinks), stop or StopRequest())
    outcome: list[StatusDocument | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_hold(wish))
        except BaseException as error:  # carried to the caller's thread
            outcome.append(error)

    # Signals reach the main thread only, and Ray Train would take them over there: the work gets a thread of its own.
    worker = threading.Thread(target=work, name="driver", daemon=True)
    with stop_on_signals(wish.stop) as listen:
        worker.start()
        while worker.is_alive():
            worker.join(timeout=0.5)
            listen()
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


@dataclass(frozen=True)
class _Wish:
    """What `run` was asked for, before anything is held."""

    manifest: TrainingJob | EvaluationJob
    folder: yards.RunFolder
    root: Path
    yard: yards.Yard
    options: RunOptions
    listener: Listener
    sinks: tuple[Sink, ...]
    stop: StopRequest


def _hold(wish: _Wish) -> StatusDocument:
    folder = wish.folder
    if wish.options.fresh and isinstance(wish.manifest, TrainingJob):
        preparing.find(wish.manifest, root=wish.root, yard=wish.yard)  # before anything is forgotten for it
    with _taken_over(wish) as lease:
        if wish.options.fresh:
            forget(folder, guard=lease.check)
        with _logged(folder):
            yards.replace(folder.manifest, _written(wish.manifest, defaults=False), guard=lease.check)
            yards.replace(folder.resolved, _written(wish.manifest, defaults=True), guard=lease.check)
            return _drive(_open_attempt(wish, lease))


def _taken_over(wish: _Wish) -> yards.Lease:
    """The hold on the run; where another driver has it, waited for as long as `patience_seconds` says."""
    folder, until = wish.folder, time.monotonic() + wish.options.patience_seconds
    waiting = False
    while True:
        wish.stop.check()
        try:
            return yards.take_over(folder, commits=lambda: committed_names(folder), fresh=wish.options.fresh)
        except RunHeldError as error:
            if time.monotonic() >= until:
                raise
            if not waiting:
                wish.listener(Note(f"waiting: {error}"))
            waiting = True
            wish.stop.wait(_HELD_POLL_SECONDS)


def _written(manifest: Manifest, *, defaults: bool) -> bytes:
    """The manifest as the run keeps it: a secret that someone wrote into it does not come along."""
    return telemetry.redact(to_yaml(manifest, defaults=defaults)).encode()


@contextmanager
def _logged(folder: yards.RunFolder) -> Iterator[None]:
    """Logging, and warnings with it, go to the run's driver.log and come back to what a caller in Python had."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    captured = warnings.showwarning.__module__ == logging.__name__
    handler = telemetry.configure_logging(folder.driver_log)
    try:
        yield
    finally:
        handler.close()
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(captured)


def _open_attempt(wish: _Wish, lease: yards.Lease) -> Attempt[Any]:
    document = opening(
        StatusDocument(kind=wish.manifest.kind, name=wish.manifest.metadata.name, run_id=wish.folder.run_id),
        attempts=lease.attempt,
        before=_status_before(wish.folder),
        now=rfc3339(utc_now()),
    )
    events = telemetry.Events(wish.folder.events, attempt=lease.attempt)
    sinks = [to_file(wish.folder.status, guard=lease.check), *wish.sinks]
    return Attempt(
        job=wish.manifest,
        root=wish.root,
        yard=wish.yard,
        folder=wish.folder,
        lease=lease,
        board=Board(document, sinks=sinks, listener=recorded(events, wish.listener)),
        ray=_ray_for(wish.manifest, wish.folder),
        stop=wish.stop,
        options=wish.options,
    )


def _drive(attempt: Attempt[Any]) -> StatusDocument:
    module = training_job if isinstance(attempt.job, TrainingJob) else evaluation_job
    try:
        module.begin(attempt)
        for stage in module.STAGES:
            attempt.records[stage.name] = run_stage(attempt, stage)
        module.conclude(attempt)
    except FencedError:
        log.warning("a later attempt took this run over; this one changes nothing more")
        raise
    except BaseException as error:
        known = as_modelyard_error(error)
        log.error("stage %s ended: %s", attempt.stage, known, exc_info=error)
        _close(attempt, known)
        if known is error:
            raise
        raise known from error
    else:
        _finish(attempt)
        return attempt.board.document
    finally:
        attempt.ray.close()


def _close(attempt: Attempt[Any], error: BaseException) -> None:
    step = attempt.board.document.progress.step if attempt.board.document.progress else None
    failure = digest_of(error, stage=attempt.stage, step=step)
    try:
        if isinstance(error, StoppedError):
            attempt.board.suspended(failure)
        else:
            attempt.board.failed(failure)
        _finish(attempt)
    except (
        OSError,
        ModelyardError,
    ) as second:  # a full disk cannot take the status either: the first error is the news
        log.error("the end could not be recorded: %s", second)


def _finish(attempt: Attempt[Any]) -> None:
    try:
        report.render(attempt.folder, attempt.yard)
    except Exception as error:  # a report is a convenience: it must not turn a good run into a failed one
        log.exception("report.html could not be made")
        attempt.board.tell(Note(f"report.html could not be made: {error}", warning=True))
    attempt.board.tell(RunEnded(attempt.board.document))


def forget(folder: yards.RunFolder, *, guard: yards.Guard) -> None:
    """Remove what earlier attempts made, keep their claims: the counter that fences them goes on."""
    stages = folder.stages("train").parent
    for path in (stages, folder.train, folder.evaluate, folder.status, folder.control, folder.report):
        yards.discard(path, guard=guard)


def _status_before(folder: yards.RunFolder) -> StatusDocument | None:
    try:
        return yards.read_record(folder.status, StatusDocument)
    except NotFoundError:
        return None
    except IntegrityError as error:
        log.warning("%s: a new one is begun", error)
        return None


def _ray_for(manifest: TrainingJob | EvaluationJob, folder: yards.RunFolder) -> RaySession:
    def start() -> None:
        from modelyard.train import on_ray

        on_ray.start_ray(manifest.spec.workers, log_dir=folder.logs)

    def stop() -> None:
        from modelyard.train import on_ray

        on_ray.stop_ray()

    return RaySession(start, stop)
