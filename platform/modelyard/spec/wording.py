"""How faults of structure are put into words: what stands there, what is allowed, how to write it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

from modelyard.spec.parts import JOB_NAME_PATTERN, NAME_PATTERN, QUANTITY_PATTERN, REFERENCE_PATTERN
from modelyard.spec.secrets import looks_secret

PATTERN_WORDS = {
    f"^{NAME_PATTERN}$": "a name: lower-case letters, digits and dashes, a letter or digit at both ends, at most 63",
    f"^{JOB_NAME_PATTERN}$": "a name: lower-case letters, digits and dashes, a letter first, no dash last, at most 63",
    f"^{QUANTITY_PATTERN}$": 'a Kubernetes quantity, as "500m", "2" or 4Gi',
    f"^{REFERENCE_PATTERN}$": "a reference without blanks at its ends",
}
WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (`name: value` lines)",
    "model_type": "a mapping (`name: value` lines)",
    "model_attributes_type": "a mapping (`name: value` lines)",
    "tuple_type": "a list (`- …` lines)",
    "finite_number": "a finite number",
}
BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_fold = {_fold(name): name for name in known}
    close = difflib.get_close_matches(_fold(word), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def _fold(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def listing(words: list[str] | tuple[str, ...], most: int = 24) -> str:
    """Words for a message, not too many."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def shown(value: Any) -> str:
    """A value as a message shows it: as YAML would write it, short, never a secret or the inside of something large."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    if looks_secret(text):
        return "(not shown)"
    return text if len(text) <= 80 else text[:60] + "…" + text[-1]


def wrong_value(item: dict[str, Any]) -> tuple[str, str]:
    """Message and fix of one of pydantic's errors about a value."""
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    told = shown(value)
    if kind in BOUNDS:
        words, name = BOUNDS[kind]
        return f"is {told}, must be {words} {_number(context[name])}", ""
    if kind == "literal_error":
        return _wrong_word(value, context["expected"])
    if kind == "string_pattern_mismatch":
        return f"is {told}, must be {PATTERN_WORDS.get(context['pattern'], 'text like ' + context['pattern'])}", ""
    if kind in WORDS:
        return f"is {told}, must be {WORDS[kind]}", _conversion(kind, value)
    if "max_length" in context or "min_length" in context:
        return _wrong_length(kind, told, context)
    return f"is {told}: {item['msg']}", ""


def _wrong_length(kind: str, told: str, context: dict[str, Any]) -> tuple[str, str]:
    bound = f"at most {context['max_length']}" if "max_length" in context else f"at least {context['min_length']}"
    if kind.startswith("string"):
        return f"is {told}, must have {bound} characters", ""
    return f"has {context['actual_length']} items, must have {bound}", ""


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() and abs(bound) < 1e15 else str(bound)


def _wrong_word(value: Any, expected: str) -> tuple[str, str]:
    words = expected.replace(" or ", ", ").replace("'", "").split(", ")
    near = nearest(value, words) if isinstance(value, str) else None
    message = f"is {shown(value)}, must be {'one of ' if len(words) > 1 else ''}{', '.join(words)}"
    return message, f"did you mean {near}?" if near else f"write {'one of them' if len(words) > 1 else words[0]}"


def _conversion(kind: str, value: Any) -> str:
    """How to write the value so that it has the type asked for, when that is easy to say."""
    if kind == "string_type" and isinstance(value, int | float):
        return f'put it in quotes: "{shown(value)}"'
    if kind in {"int_type", "float_type", "int_from_float"} and isinstance(value, str):
        return "write the number without quotes or unit" if value[:1].isdigit() else "write a number"
    if kind == "int_from_float" or (kind == "int_type" and isinstance(value, float)):
        return f"write {round(value)}"
    if kind == "bool_type":
        return "write true or false, without quotes"
    if kind == "tuple_type":
        return "put a dash before each item, or brackets around them"
    return ""
