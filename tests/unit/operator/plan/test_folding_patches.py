"""Differences as merge patches: what they make, and that they are empty when there is nothing to make."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard_operator.cluster.merging import merge
from modelyard_operator.plan.patching import difference, lacking

VALUE = st.recursive(
    st.booleans() | st.integers(0, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
DOCUMENT = st.dictionaries(st.sampled_from("abc"), VALUE, max_size=3)


@given(DOCUMENT, DOCUMENT)
def test_a_difference_makes_the_one_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merge(before, difference(before, after)) == after
    assert difference(after, after) == {}


@given(DOCUMENT, DOCUMENT)
def test_what_lacks_is_put_in_and_nothing_is_taken_away(standing: dict[str, Any], wished: dict[str, Any]) -> None:
    made = merge(standing, lacking(standing, wished))
    assert lacking(made, wished) == {}
    assert made.keys() == standing.keys() | wished.keys()
