"""What a secret looks like, so that none is ever stored or repeated in a message.

telemetry's redaction is the second net, for texts of others; here a manifest that holds one is refused.
"""

from __future__ import annotations

import re

# Forms that well-known services give their keys, and user info in an address.
_FORMS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\b(?:hf|api_org)_\w{16,}"
    r"|\bsk-[\w-]{16,}|\b[srp]k_(?:live|test)_\w{16,}|\bxox[abeoprs]-[\w-]{10,}|\bAIza[\w-]{35}|\bnpm_\w{30,}"
    r"|\bpypi-[\w-]{30,}|\bdckr_pat_[\w-]{20,}|\bnvapi-[\w-]{20,}|\bhv[sb]\.[\w-]{20,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}|-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
)
_USER_INFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]+@")
_REGISTRY = re.compile(r"(?:registry|hf)://")
_NAMES = re.compile(
    r"(?:^|[_-])(?:pass(?:word|wd|phrase)?|secrets?|tokens?|credentials?|creds|api[_-]?keys?|(?:access|secret|private|auth)[_-]?key|dsn)"
    r"(?:[_-]|\d*$)",
    re.IGNORECASE,
)


def looks_secret(text: str) -> bool:
    """Whether a text is a key of a well-known form, or an address with a password."""
    return bool(_FORMS.search(text) or (_USER_INFO.search(text) and not _REGISTRY.match(text)))


def names_secret(name: str) -> bool:
    """Whether a variable or field of this name would hold one."""
    return bool(_NAMES.search(name))
