"""The reasons of conditions: one word each, each with its meaning."""

from __future__ import annotations

import re

from modelyard.spec.reasons import Reason, meanings


def test_every_reason_is_a_word_with_a_meaning() -> None:
    told = meanings()
    assert list(told) == list(Reason)
    assert told[Reason.NAME_TAKEN].startswith("An object that is not ours stands where")
    for reason, meaning in told.items():
        assert re.fullmatch(r"([A-Z][a-z]+)+", reason), reason
        assert reason.name.replace("_", "").lower() == reason.lower(), reason
        assert meaning.endswith("."), reason
    assert len(set(told.values())) == len(told)
