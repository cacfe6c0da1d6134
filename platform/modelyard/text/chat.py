"""Chat templates: found in a tokenizer folder, rendered in Jinja's immutable sandbox as transformers does it.

What a message says is only text, also where it reads like a special token: `hide_specials` keeps the two apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelyard.errors import InvalidInputError

# A prompt beyond this is a template that runs away; the longest contexts of today are a few MB of text.
MAX_RENDERED_CHARACTERS = 16 << 20
PRIVATE_USE = range(0xE000, 0xF900)  # Unicode's characters without a meaning


class _GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's words for training; rendering ignores it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def find_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The chat template: `chat_template.jinja`, else `chat_template` in the config (a text, or a list of named ones,
    of which `default` is meant)."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        template = next((entry.get("template") for entry in template if entry.get("name") == "default"), None)
    return template if isinstance(template, str) else None


def hide_specials(
    messages: Sequence[Mapping[str, Any]], specials: Collection[str], *, template: str
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """The messages with one private-use character for each special token that they spell, and what these stand for.

    The characters stand neither in the messages nor in the template, so in the rendered text each is one of ours.
    """
    said = [value for message in messages for name, value in message.items() if _is_said(name, value)]
    spelt = [special for special in specials if any(special in text for text in said)]
    if not spelt:
        return list(messages), {}
    taken = set(template).union(*said)
    marks = dict(zip(spelt, (mark for mark in map(chr, PRIVATE_USE) if mark not in taken), strict=False))
    if len(marks) < len(spelt):
        raise InvalidInputError("the messages spell special tokens and hold every private-use character of Unicode")
    spelling = re.compile("|".join(re.escape(special) for special in sorted(spelt, key=len, reverse=True)))
    hidden: list[Mapping[str, Any]] = [
        {
            name: spelling.sub(lambda found: marks[found[0]], value) if _is_said(name, value) else value
            for name, value in message.items()
        }
        for message in messages
    ]
    return hidden, {mark: special for special, mark in marks.items()}


def _is_said(name: str, value: object) -> bool:
    return name != "role" and isinstance(value, str)


def render(
    template: str, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, special_tokens: Mapping[str, str]
) -> str:
    """The prompt text. Raises InvalidInputError with the template's own words when it refuses the messages."""
    values = {**special_tokens, "messages": list(messages), "add_generation_prompt": add_generation_prompt}
    parts: list[str] = []
    length = 0
    try:
        for part in _compile(template).generate(**values, tools=None, documents=None):
            parts.append(part)
            length += len(part)
            if length > MAX_RENDERED_CHARACTERS:
                raise InvalidInputError(f"the chat template renders more than {MAX_RENDERED_CHARACTERS} characters")
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise InvalidInputError(f"the chat template refuses these messages: {error}") from error
    return "".join(parts)


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationBlock]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    # Jinja's own tojson escapes for HTML; prompts are no HTML.
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
