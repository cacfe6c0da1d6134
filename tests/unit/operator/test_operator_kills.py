"""What the benchmarks of killed operators compare: stories of one plot are equal but for names and ids."""

from __future__ import annotations

from typing import Any, cast

import pytest

from modelyard_operator.cluster.rest import RestCluster
from modelyard_operator.kinds.objects import EVENTS, RAY_CLUSTERS, RAY_JOBS, TRAINING_JOBS, Resource
from support.operator_kills.stories import Story, faults, story, twice
from support.operator_kills.worlds import World

NOBODY = cast(RestCluster, None)


def told(name: str, uid: str, *, phase: str = "Succeeded", clusters: int = 1, events: int = 1) -> Story:
    """The story of a job that ended."""
    return story(world(name, uid, phase, clusters, events), TRAINING_JOBS, name)


def world(name: str, uid: str, phase: str = "Succeeded", clusters: int = 1, events: int = 1) -> World:
    made = World(NOBODY, "team")
    condition = {"type": "Complete", "status": "True", "reason": "Succeeded", "message": f"{name} is done"}
    put(made, TRAINING_JOBS, name, status={"phase": phase, "startTime": uid, "conditions": [condition]})
    put(made, RAY_JOBS, f"{name}-{uid}-1")
    for number in range(clusters):
        put(made, RAY_CLUSTERS, f"{name}-{uid}-1-{number:05d}")
    about = {"kind": "TrainingJob", "name": name}
    for number in range(events):
        put(made, EVENTS, f"{name}.{number}", involvedObject=about, type="Normal", reason="Complete", message=name)
    put(made, EVENTS, f"{name}.x", involvedObject=about, type="Normal", reason="Training", message="in passing")
    return made


def put(made: World, resource: Resource, name: str, **fields: Any) -> None:
    made.objects[made.key(resource, name)] = {"metadata": {"name": name}, **fields}
    made.uids[made.key(resource, name)].add(f"uid of {name}")


def test_names_ids_and_times_are_no_difference() -> None:
    assert not list(faults("retries-12", told("retries-1", "0123abcd"), told("retries-12", "fedc9876")))


@pytest.mark.parametrize(
    ("other", "words"),
    [({"phase": "Failed"}, "instead of"), ({"clusters": 2}, "RayCluster"), ({"events": 2}, "should not be there"),
     ({"events": 0}, "is not there")],
)  # fmt: skip
def test_what_came_out_otherwise_is_told(other: dict[str, Any], words: str) -> None:
    (found,) = faults("a-2", told("a-1", "0123abcd"), told("a-2", "fedc9876", **other))
    assert words in found


def test_two_uids_under_one_name_are_told() -> None:
    made = world("a-1", "0123abcd")
    assert not list(twice(made.uids))
    made.uids[made.key(RAY_JOBS, "a-1-0123abcd-1")].add("another")
    (found,) = twice(made.uids)
    assert "created 2 times" in found
