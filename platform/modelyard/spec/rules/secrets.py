"""Secrets are references, never values: a manifest that holds one is refused before anything stores it.

Messages here never repeat what they object to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.spec.documents import Location
from modelyard.spec.rules.objections import Objection
from modelyard.spec.secrets import looks_secret, names_secret

_USE = "name a Secret: valueFrom: {secretKeyRef: {name: …, key: …}}"


def check_secrets(value: Any, place: Location = ()) -> Iterator[Objection]:
    """Objections to every text of a document that looks like a secret; keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            if looks_secret(str(key)):
                yield Objection(place, "holds a key that looks like a secret", "take it out")
            yield from check_secrets(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from check_secrets(item, (*place, index))
    elif isinstance(value, str) and looks_secret(value):
        yield Objection(
            place, "looks like a secret; a manifest holds references to secrets, never their values", "take it out"
        )


def check_env_name(name: str, place: Location) -> Iterator[Objection]:
    """A variable whose name says secret must not have its value written down."""
    if names_secret(name):
        yield Objection(place, f"{name} looks like a secret, whose value never stands in a manifest", _USE)
