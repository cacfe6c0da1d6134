"""The index of owners against the plain definition of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard_operator.cluster.observing import Objects
from modelyard_operator.kinds.objects import CONFIG_MAPS, ObjectKey, controller_uid, uid_of

NAMES = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["put", "drop"]), st.integers(0, 2), st.none() | NAMES), max_size=40)


def key(name: str) -> ObjectKey:
    return ObjectKey(CONFIG_MAPS, "n", name)


def made(name: str, generation: int, owner: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "n", "uid": f"{name}{generation}"}
    if owner is not None:
        metadata["ownerReferences"] = [{"uid": f"{owner}0", "controller": True}]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@given(STEPS, NAMES)
def test_after_any_puts_and_drops_it_knows_who_owns_whom(
    steps: list[tuple[str, str, int, str | None]], name: str
) -> None:
    objects, plain = Objects(), dict[ObjectKey, dict[str, Any]]()
    for place, step, generation, owner in steps:
        if step == "put":
            plain[key(place)] = made(place, generation, owner)
            objects.put(key(place), plain[key(place)])
        else:
            plain.pop(key(place), None)
            objects.drop(key(place))
    assert dict(objects.items) == plain
    assert sorted(objects.keys(CONFIG_MAPS)) == sorted(plain)
    assert sorted(set(objects.owned(f"{name}0"))) == sorted(below(plain, f"{name}0"))
    assert objects.lineage(key(name)) == above(plain, key(name))


def below(plain: dict[ObjectKey, dict[str, Any]], uid: str) -> set[ObjectKey]:
    uids, found = {uid}, set[ObjectKey]()
    while more := {place for place, item in plain.items() if controller_uid(item) in uids} - found:
        found |= more
        uids |= {uid_of(plain[place]) for place in more}
    return found


def above(plain: dict[ObjectKey, dict[str, Any]], start: ObjectKey) -> list[ObjectKey]:
    line = [start]
    while line[-1] in plain:
        owner = controller_uid(plain[line[-1]])
        standing = [k for k, item in plain.items() if owner and uid_of(item) == owner]
        if not standing or standing[0] in line:
            break
        line.append(standing[0])
    return line
