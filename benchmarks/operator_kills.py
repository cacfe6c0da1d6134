"""Kill the operator, by seed, amid a stream of TrainingJobs on a real API server: nothing comes out otherwise.

    python benchmarks/operator_kills.py                  # 150 kills
    python benchmarks/operator_kills.py --kills 20 --seed 3

Every life of the operator gets a new job and is ended by SIGKILL at a random moment after it has read the cluster.
KubeRay's stand-in plays the jobs by script: they succeed, fail, lose a worker and succeed in a second attempt, are
suspended and resumed, are deleted. One job of each kind is played first, by an operator that nobody kills: the others'
statuses, Events, children and creations must be as there. A watch counts what is created; foreign objects with our
labels must not change. The operator has exactly the roles that the chart gives it. Fails (exit 1) when anything is
otherwise. `operator_kills_deployments.py` is the same for ModelDeployments.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from modelyard_operator.kinds.conditions import is_over
from modelyard_operator.kinds.objects import TRAINING_JOBS
from support.job_worlds import failure, job
from support.kuberay import Attempt, Moment, Script
from support.kuberay import scripts as played
from support.operator_kills.runs import Stream, main
from support.operator_kills.worlds import World

LIVES_SECONDS = 1.2  # after it has read the cluster, at most
PATIENCE_SECONDS = 420.0  # for what is under way at the end: a second attempt waits 40 s
PLOTS = ("succeeds", "fails", "retries", "resumes", "deleted")


def document(name: str, phase: str, **fields: Any) -> dict[str, Any]:
    """What a driver says of itself."""
    progress = {"stage": "train", "step": 10, "totalSteps": 100, "tokens": 5120}
    return {"schema": 1, "kind": "TrainingJob", "name": name, "phase": phase, "progress": progress, **fields}


class Plots(Script):
    """What becomes of a job is in its name: `<plot>-<number>`."""

    def attempt(self, name: str, number: int) -> Attempt:
        """See `Script`."""
        plot = name.rpartition("-")[0]
        trains = Moment(2, document=document(name, "Training"))
        ends = (Moment(4, document=document(name, "Succeeded")), Moment(5, job="SUCCEEDED"))
        if plot == "fails":
            broken = document(name, "Failed", lastFailure=failure("BadData", "no document can be read"))
            return played.runs(trains, Moment(4, document=broken), Moment(5, job="FAILED", message=played.EXIT_ONE))
        if plot == "retries" and number == 0:
            # Where a busy machine lets KubeRay see the submitter's end first, it words the failure otherwise.
            return played.runs(trains, Moment(5, job="FAILED", message=played.EXIT_ONE), Moment(15, submitter="failed"))
        if plot == "deleted" or (plot == "resumes" and number == 0):
            stopped = document(name, "Suspended", lastFailure=failure("Interrupted"))
            return played.runs(trains, suspended=stopped)
        return played.runs(trains, *ends)


async def act(world: World, name: str) -> None:
    """A user's part in a job: create it; suspend and resume it, or delete it, once it trains."""
    item = job(register={"name": "model"})
    item["metadata"] = {"name": name, "namespace": world.namespace}
    key, plot = world.key(TRAINING_JOBS, name), name.rpartition("-")[0]
    await world.cluster.create(item)
    if plot == "deleted":
        await world.until(lambda: _phase(world, name) == "Training")
        await world.cluster.delete(key)
    if plot == "resumes":
        await world.until(lambda: _phase(world, name) == "Training")
        await world.cluster.patch(key, {"spec": {"suspend": True}})
        await world.until(lambda: _phase(world, name) == "Suspended")
        await world.cluster.patch(key, {"spec": {"suspend": False}})


def ended(world: World, name: str) -> bool:
    """Whether a job is over and tidied up, or gone."""
    item = world.get(TRAINING_JOBS, name)
    over = is_over(item) if name.rpartition("-")[0] != "deleted" else not item
    return over and not world.left(name)


def _phase(world: World, name: str) -> str:
    phase: str = world.get(TRAINING_JOBS, name).get("status", {}).get("phase", "")
    return phase


if __name__ == "__main__":
    stream = Stream(TRAINING_JOBS, PLOTS, Plots(), act, ended, LIVES_SECONDS, PATIENCE_SECONDS)
    sys.exit(main(stream, __doc__, kills=150))
