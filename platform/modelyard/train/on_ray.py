"""Ray: the one start of it on this machine, and the worker group on Ray Train. The only file of train that names Ray.

Ray Train V2 places and watches the workers (`DataParallelTrainer` with a backend of our own: the driver and the
controller import no torch). Whether a failure is tried again is decided here, by `restarts.py`, not by Ray's count.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from ray.util.placement_group import PlacementGroup, PlacementGroupID

from modelyard import checkpoint
from modelyard.errors import InvalidInputError, WorkerLostError
from modelyard.spec import WorkersSpec
from modelyard.spec.quantities import quantity
from modelyard.train.failures import error_of, first_cause, take_notes
from modelyard.train.restarts import Restarts, failures_before
from modelyard.train.task import Place, TrainOutcome, TrainTask, WorkerFailure
from modelyard.train.worker import notes_folder, run_folder, run_worker, training_job
from modelyard.yard import claims
from modelyard.yard.scratch import close_scratch, open_scratch

# What worker processes need, before they import torch and DeepSpeed.
WORKER_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# Set before Ray's processes start: they inherit it, the driver itself need not keep it.
ENVIRONMENT = {
    **WORKER_ENVIRONMENT,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a death is seen (Ray's default is 2 s)
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more; nobody preempts this machine
}
_KNOCK_SECONDS = 10.0
_session: dict[str, str] = {}


def start_ray(workers: WorkersSpec, *, log_dir: Path, temp_dir: Path | None = None) -> None:
    """Start Ray on this machine with the logical CPUs and GPUs that `workers` asks for; quiet, on loopback.

    On a cluster (RAY_ADDRESS is set, as Ray does for its jobs) joins that one, whose nodes are what they are; raises
    WorkerLostError when it does not answer.
    """
    if ray.is_initialized():
        return
    log_dir.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RAY_ADDRESS"):
        _join(os.environ["RAY_ADDRESS"])
        return
    quiet = {**ENVIRONMENT, **_accelerator(workers.resources.gpu > 0)}
    added = {key: value for key, value in quiet.items() if key not in os.environ}
    os.environ.update(added)
    try:
        _start_local(workers, log_dir, temp_dir)
    finally:
        for key in added:  # else Ray Train gives its workers a runtime environment, which costs a process start each
            os.environ.pop(key, None)


def stop_ray() -> None:
    """Stop what `start_ray` started, with its scratch folder; a cluster that was joined is only left."""
    ray.shutdown()
    folder = _session.pop("folder", None)
    if folder:
        close_scratch(Path(folder))


def launch(
    task: TrainTask,
    *,
    workers: WorkersSpec,
    on_failure: Callable[[WorkerFailure], None] | None = None,
    max_restarts: int | None = None,
) -> TrainOutcome:
    """Train on a worker group, restarted from the last commit when it fails; Ray must be up.

    Raises the first cause as a TrainingError once failures in a row without a new commit, those of earlier attempts
    included, exceed `maxRestarts`, or at once when trying again cannot help.
    """
    run, job = run_folder(task), training_job(task)
    allowed = job.spec.fault_tolerance.max_restarts if max_restarts is None else max_restarts
    newest = next(iter(checkpoint.committed(run)), None)
    before = failures_before(claims(run), newest.attempt if newest else 0)
    restarts = Restarts(allowed, committed=newest.step if newest else 0, in_a_row=before)
    scratch = run.path / "tmp" / "ray-train"
    while True:
        began = time.time()
        try:
            result = _trainer(task, workers, scratch, began).fit()
            return TrainOutcome(**result.return_value)
        except (TrainingFailedError, ray.exceptions.RayActorError) as error:  # the latter: Ray Train's controller died
            _free_leftovers()
            failure = first_cause(take_notes(notes_folder(run), since=began), _deaths(error))
            if on_failure:
                on_failure(failure)
            if not restarts.again(failure, committed=_newest_step(task)):
                raise error_of(failure) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@dataclass
class _GroupBackend(BackendConfig):  # type: ignore[misc]  # Ray is untyped
    """Names our backend to Ray Train."""

    @property
    def backend_cls(self) -> Any:
        return _Rendezvous


class _Rendezvous(Backend):  # type: ignore[misc]  # Ray is untyped
    """Tells every worker where rank 0 listens; DeepSpeed makes the process group."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        address, port = worker_group.execute_single(0, _free_address)
        one_machine = len({worker.metadata.node_id for worker in worker_group.get_workers()}) == 1
        worker_group.execute(_set_rendezvous, "127.0.0.1" if one_machine else address, port)


def _join(address: str) -> None:
    if "://" in address:
        raise InvalidInputError(
            f"RAY_ADDRESS={address}: a driver sits in the cluster it uses, not behind Ray's client port",
            hint="run it as a Ray job, or unset RAY_ADDRESS to train on this machine",
        )
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
        raise WorkerLostError(
            f"no Ray cluster answers at RAY_ADDRESS={address}: {error}", hint="unset it to train on this machine"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError when nobody listens there: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _accelerator(gpu: bool) -> dict[str, str]:
    return {"DS_ACCELERATOR": "cuda" if gpu else "cpu"}


def _start_local(workers: WorkersSpec, log_dir: Path, temp_dir: Path | None) -> None:
    folder = temp_dir or open_scratch()  # short: a socket's path holds 107 bytes
    if temp_dir is None:
        _session["folder"] = str(folder)
    ray.init(
        num_cpus=max(1, math.ceil(quantity(workers.resources.cpu) * workers.count)),
        num_gpus=workers.resources.gpu * workers.count,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=True,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
        # Ray waits 60 s for a gcs_server that has died; here nobody starts it again, so all is over at once.
        _system_config={"gcs_rpc_server_reconnect_timeout_s": 5},
    )
    ray._private.worker._worker_logs_enabled = False  # else the raylet's words on a dead worker go to our terminal


class _Group(DataParallelTrainer):  # type: ignore[misc]  # Ray is untyped
    """Without the process that frees the workers' resources should the controller die: `_free_leftovers` does."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]


def _free_leftovers() -> None:
    """Placement groups that a dead controller left behind hold the CPUs that the next group needs.

    Only this job's, whose id their ids end with: others may use the same cluster.
    """
    job = ray.get_runtime_context().get_job_id()
    for key, entry in ray.util.placement_group_table().items():
        if entry["state"] != "REMOVED" and key.endswith(job):
            ray.util.remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(key))))


def _trainer(task: TrainTask, workers: WorkersSpec, scratch: Path, began: float) -> _Group:
    resources = workers.resources
    if workers.min_count is not None and workers.min_count != workers.count:
        raise InvalidInputError("spec.workers.minCount: fewer workers than count are not implemented yet")
    # Memory is the pods' limit, not asked of Ray too: what a node offers of it is a rounding less than the pod has.
    per_worker: dict[str, float] = {"CPU": float(quantity(resources.cpu))}
    if resources.gpu:
        per_worker["GPU"] = resources.gpu
    threads = max(1, int(quantity(resources.cpu)))
    return _Group(
        _work,
        train_loop_config={"task": task, "threads": threads, "use_gpu": resources.gpu > 0, "began": began},
        backend_config=_GroupBackend(),
        scaling_config=ScalingConfig(
            num_workers=workers.count, use_gpu=resources.gpu > 0, resources_per_worker=per_worker
        ),
        run_config=RunConfig(
            name="group", storage_path=str(scratch.absolute()), failure_config=FailureConfig(max_failures=0)
        ),
    )


def _work(config: dict[str, Any]) -> dict[str, Any]:
    """What Ray Train runs in every worker."""
    import dataclasses

    from ray.train import get_context

    # Here Ray's processes have them from our start of it; those of a cluster have what its pods set.
    for key, value in {**WORKER_ENVIRONMENT, **_accelerator(config["use_gpu"])}.items():
        os.environ.setdefault(key, value)
    context = get_context()
    place = Place(
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        local_rank=context.get_local_rank(),
        master_address=os.environ["MASTER_ADDR"],
        master_port=int(os.environ["MASTER_PORT"]),
        threads=config["threads"],
        use_gpu=config["use_gpu"],
    )
    return dataclasses.asdict(run_worker(config["task"], place, began=config["began"]))


def _free_address() -> tuple[str, int]:
    with socket.socket() as free:
        free.bind(("", 0))
        return ray.util.get_node_ip_address(), free.getsockname()[1]


def _set_rendezvous(address: str, port: int) -> None:
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, str(port)


def _deaths(error: Exception) -> dict[int, str]:
    """Ranks whose process vanished, with Ray's words for it; -1 when it is about none (start, controller)."""
    if not isinstance(error, WorkerGroupError):
        return {-1: str(error)}
    return {
        rank: str(failure)
        for rank, failure in error.worker_failures.items()
        if isinstance(failure, ray.exceptions.RayError | WorkerHealthCheckFailedError | WorkerHealthCheckTimeoutError)
    }


def _newest_step(task: TrainTask) -> int:
    newest = next(iter(checkpoint.committed(run_folder(task))), None)
    return newest.step if newest else 0
