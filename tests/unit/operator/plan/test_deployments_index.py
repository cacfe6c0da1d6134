"""References resolved through the registry's index: what each names, and what is said when it names nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_operator.plan.registry_index import ModelVersion, Unresolved, made_by, model_of, resolve
from support.deployment_worlds import digest, index

KNOWN = index([digest(1), digest(2), digest(3)], {"stable": 2, "gone": 0})

NAMED = {
    "registry://small@stable": 2,
    "registry://small@1": 1,
    "registry://small@3": 3,
    "registry://small": 3,
}
NAMING_NOTHING = {
    "registry://small@other": "has no alias other; its aliases: stable",
    "registry://small@gone": "has no alias gone",
    "registry://small@9": "has no version 9; it has 1, 2, 3",
    "registry://small@0": "has no version 0",
    "./folder": "is a folder",
    "hf://org/name": "is a folder",
    "registry://Small@1": "is a folder",
}


@pytest.mark.parametrize("reference", NAMED)
def test_what_a_reference_names(reference: str) -> None:
    number = NAMED[reference]
    assert resolve(reference, KNOWN) == ModelVersion("small", number, digest(number))
    assert model_of(reference) == "small"


@pytest.mark.parametrize("reference", NAMING_NOTHING)
def test_a_reference_that_names_nothing_says_what_there_is(reference: str) -> None:
    found = resolve(reference, KNOWN)
    assert isinstance(found, Unresolved)
    assert NAMING_NOTHING[reference] in found.message


DAMAGED: dict[str, tuple[Any, str]] = {
    "no data": ({}, "is empty"),
    "no document": ({"data": {}}, "is empty"),
    "torn": ({"data": {"index.json": '{"schema": 1, "ver'}}, "is no JSON"),
    "a list": ({"data": {"index.json": "[]"}}, "is no mapping"),
    "nested beyond reading": ({"data": {"index.json": "[" * 100_000}}, "is no JSON"),
    "newer": ({"data": {"index.json": '{"schema": 2, "versions": []}'}}, "of schema 2; this operator knows up to 1"),
    "no versions": ({"data": {"index.json": '{"schema": 1}'}}, "has no version yet"),
    "versions that are none": (
        {"data": {"index.json": '{"versions": [1, {"version": true}, {"version": 1, "digest": "sha256:x"}]}'}},
        "has no version yet",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_index_that_cannot_be_read_is_said(name: str) -> None:
    item, words = DAMAGED[name]
    found = resolve("registry://small@stable", item)
    assert isinstance(found, Unresolved)
    assert words in found.message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["schema", "versions", "aliases", "version", "digest", "stable"]), inner, max_size=4
    ),
)  # fmt: skip


@given(anything, st.sampled_from([*NAMED, *NAMING_NOTHING]))
def test_whatever_stands_there_reading_it_never_raises(document: Any, reference: str) -> None:
    for item in ({"data": {"index.json": json.dumps(document)}}, {"data": document}):
        found = resolve(reference, item)
        assert isinstance(found, ModelVersion | Unresolved)


def test_the_version_of_a_run_is_found_among_what_others_wrote() -> None:
    def entry(number: object, run: object, one: str) -> dict[str, object]:
        return {"version": number, "runId": run, "digest": one}

    entries = [
        entry(1, "mine", digest(1)), entry(1, "other", digest(4)), entry(2, "mine", "torn"), entry(3, "", digest(3)),
        entry(2**63, "mine", digest(5)), entry(None, "mine", digest(6)), {"version": 4}, "no entry",
    ]  # fmt: skip
    document = {"schema": 1, "name": "small", "versions": entries}
    item = {"data": {"index.json": json.dumps(document)}}
    assert made_by("mine", "small", item) == ModelVersion("small", 1, digest(1))
    assert made_by("", "small", item) is None
    assert made_by("nobody", "small", item) is None
    assert made_by("mine", "small", None) is None
    assert made_by("mine", "small", {"data": {"index.json": "{torn"}}) is None
