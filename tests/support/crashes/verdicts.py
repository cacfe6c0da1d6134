"""What is so at a point of a run, and what is left at its end, so that two runs can be compared."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from modelyard_operator.cluster.observing import LOOKED_AT
from modelyard_operator.kinds.objects import EVENTS, Json, ObjectKey
from support.crashes.stages import Stage

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
IN_PASSING = frozenset(
    {"Starting", "Preparing", "Training", "Evaluating", "Registering", "Queued", "Ending", "Stopping", "RollingOut"}
)
_DURATIONS = re.compile(r"(active(?:Seconds|After)\W+)[0-9.]+")


State = tuple[object, ...]


def state(stage: Stage) -> State | None:
    """All that the future of a run depends on, but numbers of versions; None while the operator does not rest.

    The clock, of the operator's memory what its cache does not hold (when it will look again, at what), the objects,
    what was created how often, the stand-in's memory. Two runs in an equal state go on alike.
    """
    operator = stage.operator
    if operator is None or len(operator.queue) or operator.queue._failures or not _knows_all(stage):
        return None
    timers = {key: round(timer.when(), 3) for key, timer in operator.queue._timers.items()}
    interests = {key: frozenset(keys) for key, keys in operator.controller._interests.items()}
    ray = {name: value for name, value in vars(stage.ray).items() if name != "script"}
    kuberay = (stage.kuberay._deletions, stage.kuberay._configs, stage.kuberay._alive, stage.kuberay.chance.getstate())
    objects = {key: _unversioned(item) for key, item in stage.store.objects.items()}
    return (round(stage.seconds, 6), timers, interests, dict(stage.creations), objects, repr(ray), repr(kuberay))


def _knows_all(stage: Stage) -> bool:
    """Whether the cache is what the server has, and every watch stands."""
    operator = stage.operator
    assert operator is not None
    if any(reflector._watching_since is None for reflector in operator.reflectors):
        return False
    seen = {
        key: item["metadata"]["resourceVersion"]
        for key, item in stage.store.objects.items()
        if key.resource in LOOKED_AT and not _is_unseen(item)
    }
    return seen == {key: operator.cache.version(key) for key in operator.cache.objects.items}


def _is_unseen(item: Json) -> bool:
    """Pods that no Ray cluster has: the operator's watch leaves them out."""
    return item["kind"] == "Pod" and "ray.io/cluster" not in (item["metadata"].get("labels") or {})


def _unversioned(item: Json) -> dict[str, Any]:
    metadata = {name: value for name, value in item["metadata"].items() if name != "resourceVersion"}
    return {**item, "metadata": metadata}


def ending(stage: Stage) -> dict[ObjectKey, Json]:
    """What is left, by place, without ids, versions, times and durations."""
    uids = {item["metadata"]["uid"]: f"uid of {key}" for key, item in stage.store.objects.items()}
    left = {_place(key, item): item for key, item in stage.store.objects.items() if not _is_in_passing(item)}
    times = Counter(_place(key, item) for key, item in stage.store.objects.items())
    return {key: {**_normal(left[key], uids), "times": times[key]} for key in sorted(left)}


def _place(key: ObjectKey, item: Json) -> ObjectKey:
    """Events by what they tell: their names tell when, too."""
    return ObjectKey(EVENTS, key.namespace, f"{item['reason']}: {item['message']}") if key.resource == EVENTS else key


def _normal(item: Json, uids: Mapping[str, str]) -> Json:
    plain = _unversioned(item)
    if item["kind"] == EVENTS.kind:
        del plain["metadata"]["name"], plain["metadata"]["uid"]
    text = json.dumps(plain, sort_keys=True)
    for uid, name in uids.items():
        text = text.replace(uid, name)
    normal: Json = json.loads(_DURATIONS.sub(r"\g<1>0", _TIME.sub("(time)", text)))
    return normal


def _is_in_passing(item: Json) -> bool:
    """Whether it is an Event of a state that passes by: who looks at other moments sees others of them."""
    return item["kind"] == "Event" and item["reason"] in IN_PASSING


def differences(undisturbed: Stage, stage: Stage) -> Iterator[str]:
    """In words, what a disturbed run left otherwise, made twice or touched though it was not the operator's."""
    wished, left = ending(undisturbed), ending(stage)
    for place in sorted(wished.keys() | left.keys()):
        for words in _unlike(wished.get(place), left.get(place)):
            yield f"{place}{words}"
    for place in sorted(undisturbed.creations.keys() | stage.creations.keys()):
        times, wanted = stage.creations[place], undisturbed.creations[place]
        if times != wanted and not (place.resource == EVENTS and times <= 1):  # which there are, was asked above
            yield f"{place}: created {times} times instead of {wanted}"
    for place, item in stage.planted.items():
        if stage.store.objects.get(place) != item:
            yield f"{place}: is somebody else's, and was touched"
    if stage.ray.submissions != undisturbed.ray.submissions:
        yield f"drivers started: {stage.ray.submissions} instead of {undisturbed.ray.submissions}"


def _unlike(wished: Any, left: Any) -> Iterator[str]:
    """Where two values differ, and how."""
    if isinstance(wished, Mapping) and isinstance(left, Mapping):
        for name in sorted(wished.keys() | left.keys()):
            yield from (f".{name}{words}" for words in _unlike(wished.get(name), left.get(name)))
    elif isinstance(wished, list) and isinstance(left, list) and len(wished) == len(left):
        for number, (one, other) in enumerate(zip(wished, left, strict=True)):
            yield from (f"[{number}]{words}" for words in _unlike(one, other))
    elif wished != left:
        yield f": {_short(left)} instead of {_short(wished)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 300 else f"{text[:300]}…"
