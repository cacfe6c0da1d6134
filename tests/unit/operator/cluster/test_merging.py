"""Merge patches: the table of RFC 7386, and what holds for any of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_operator.cluster.merging import merge, selects

RFC_7386 = [  # appendix A: target, patch, result
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7386)
def test_the_rfcs_own_cases(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@given(VALUES, VALUES)
def test_a_patch_twice_is_a_patch_once_and_touches_nothing_that_came_in(target: Any, patch: Any) -> None:
    before = repr((target, patch))
    once = merge(target, patch)
    assert merge(once, patch) == once
    assert repr((target, patch)) == before


@pytest.mark.parametrize("selector", ["a in (b)", "a notin (b,c)", "a = b"])
def test_what_is_not_understood_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match="selector"):
        selects(selector, {"metadata": {"labels": {}}})
