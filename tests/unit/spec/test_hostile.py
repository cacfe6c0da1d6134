"""Whatever stands in a manifest, reading it ends in manifests or in faults, never in another error."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import ManifestError
from modelyard.spec import from_dict, load, spec_digest, to_dict
from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, faults_of, the

BASES = (TRAINING, EVALUATION, DEPLOYMENT)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just({"a": 1}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place] * bool(place) + [found for key, item in below for found in _places(item, (*place, key))]


DOCUMENTS = [to_dict(the(base), defaults=True) for base in BASES]
PLACES = [(index, place) for index, document in enumerate(DOCUMENTS) for place in _places(document)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_value_anywhere(changes: list[tuple[tuple[int, tuple[Any, ...]], Any]]) -> None:
    documents = copy.deepcopy(DOCUMENTS)
    for (index, place), value in changes:
        here: Any = documents[index]
        for step in place[:-1]:
            here = here[step] if isinstance(here, dict | list) and _has(here, step) else {}
        if isinstance(here, dict) or (isinstance(here, list) and _has(here, place[-1])):
            here[place[-1]] = value
    for document in documents:
        try:
            manifest = from_dict(document)
        except ManifestError as error:
            _check_words(error)
        else:
            assert from_dict(to_dict(manifest, defaults=True)) == manifest
            assert spec_digest(manifest).startswith("sha256:")


def _check_words(error: ManifestError) -> None:
    assert error.faults
    assert all(fault.path and fault.message for fault in error.faults)


def _has(here: Any, step: Any) -> bool:
    return step in here if isinstance(here, dict) else isinstance(step, int) and step < len(here)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BASES),
    st.integers(0, 1500),
    st.integers(0, 40),
    st.text(alphabet="\n \t:-[]{}&*!|>'\"%@`#?,ab01.~<=\x00\x07\u2028\ud800é", max_size=12),
)
def test_any_text(base: str, start: int, length: int, put: str) -> None:
    faults_of(base[:start] + put + base[start + length :])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    try:
        load(["-"], stdin=lambda: data)
    except ManifestError as error:
        _check_words(error)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="spec.optimization[]0=\"' a\x00:{}&*", max_size=30))
def test_any_override(text: str) -> None:
    faults_of(TRAINING, text, f"spec.optimization.{text}", f"spec.optimization.steps={text}")
