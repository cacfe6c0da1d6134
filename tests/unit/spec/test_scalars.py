"""Plain scalars: what is accepted means the same to every YAML reader, what differs is refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from modelyard.spec.scalars import Ambiguous, read_plain

# What kubectl's reader (go-yaml) makes of it, and what we do: a value, or a refusal (None is a value: null).
REFUSED = "refused"
TABLE = [
    ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
    ("12", 12), ("-3", -3), ("+4", 4), ("0", 0), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-0.0", 0.0),
    ("1e-3", 0.001), ("1E3", 1000.0), ("2.5e+2", 250.0),
    ("abc", "abc"), ("2Gi", "2Gi"), ("1.2.3", "1.2.3"), ("-", "-"), ("12a", "12a"), ("e3", "e3"), ("...", "..."),
    ("corpus/*.jsonl", "corpus/*.jsonl"), ("127.0.0.1", "127.0.0.1"), ("10m", "10m"),
    ("yes", REFUSED), ("No", REFUSED), ("on", REFUSED), ("OFF", REFUSED), ("y", REFUSED), ("N", REFUSED),
    ("012", REFUSED), ("00", REFUSED), ("-07", REFUSED), ("0x1F", REFUSED), ("0o17", REFUSED), ("0b11", REFUSED),
    ("1_000", REFUSED), ("1_0.5", REFUSED), ("12:30", REFUSED), ("1:30:00", REFUSED),
    (".inf", REFUSED), ("-.Inf", REFUSED), (".nan", REFUSED), ("2026-11-22", REFUSED), ("9" * 500, REFUSED),
    ("2026-11-22T10:00:00Z", REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meaning"), TABLE, ids=[text[:20] or "(empty)" for text, _ in TABLE])
def test_each_scalar_has_one_meaning_or_is_refused(text: str, meaning: object) -> None:
    value = read_plain(text)
    if meaning is REFUSED:
        assert isinstance(value, Ambiguous)
        assert value.why
        assert value.fix
    else:
        assert value == meaning
        assert type(value) is type(meaning)


@given(st.text(alphabet="0123456789+-._eExobyYnNtTrRuUaAfFiIlLsS:T", min_size=1, max_size=12))
@example("012.5")
@example("1e5")
@example("-.5")
@example("0e0")
def test_what_is_accepted_reads_alike_elsewhere(text: str) -> None:
    ours = read_plain(text)
    if isinstance(ours, Ambiguous) or (text[0] in "-:" and text[1:2] in {"", " "}):
        return
    for theirs in (_pyyaml(text), _ruamel(text)):
        if isinstance(ours, float) and isinstance(theirs, str):
            assert float(theirs) == ours  # 1e-3, which PyYAML takes for text and everyone else for a number
        else:
            assert theirs == ours, (text, ours, theirs)


def _pyyaml(text: str) -> object:
    try:
        return yaml.safe_load(f"k: {text}")["k"]
    except yaml.YAMLError:
        return read_plain(text)  # no plain scalar at all


def _ruamel(text: str) -> object:
    try:
        return YAML(typ="safe", pure=True).load(f"k: {text}")["k"]
    except Exception:
        return read_plain(text)
