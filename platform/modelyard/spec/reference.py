"""The reference of a kind as Markdown, for the documentation: one table of every field, one section a part."""

from __future__ import annotations

from modelyard.spec.descriptions import FieldDescription, describe, summary
from modelyard.spec.manifests import API_VERSION, KINDS, SHORT_NAMES
from modelyard.spec.parts import SpecPart
from modelyard.spec.schemas import find_kind


def reference_markdown(kind: str) -> str:
    """A page: what the kind is, then each part with its fields (type, default, allowed values, meaning)."""
    name = find_kind(kind)
    short = next(word for word, full in SHORT_NAMES.items() if full == name)
    lines = [
        f"# {name}",
        "",
        summary(KINDS[name]),
        "",
        f"`apiVersion: {API_VERSION}`, `kind: {name}`, short name `{short}`. "
        f"The same text at the command line: `modelyard explain {name.lower()}`.",
        "",
    ]
    for path, part in _parts(KINDS[name], ""):
        lines += _section(path or name, part, level=2)
    return "\n".join(lines)


def _parts(part: type[SpecPart], path: str) -> list[tuple[str, type[SpecPart]]]:
    """Every part below (itself first) with its path, in the order in which a reader meets them."""
    found = [(path, part)]
    for field in describe(part):
        if field.part is not None:
            below = f"{path}.{field.name}" if path else field.name
            found += _parts(field.part, below + ("[]" if field.kind.startswith("list") else ""))
    return found


def _section(path: str, part: type[SpecPart], level: int) -> list[str]:
    rows = [_row(field, path) for field in describe(part)]
    return [
        f"{'#' * level} `{path}` {{ #{_anchor(path)} }}",
        "",
        summary(part),
        "",
        "| field | type | default | meaning |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _row(field: FieldDescription, path: str) -> str:
    words = field.kind
    if field.part is not None:
        base = "" if path in KINDS else f"{path}."
        inner = f"{base}{field.name}" + ("[]" if field.kind.startswith("list") else "")
        words = f"[{'list' if field.kind.startswith('list') else 'mapping'}](#{_anchor(inner)})"
    default = "**required**" if field.required else f"`{field.default}`" if field.default else ""
    meaning = field.meaning + (f" *Allowed:* {field.allowed}." if field.allowed else "")
    return f"| `{field.name}` | {words} | {default} | {meaning.replace('|', '&#124;')} |"


def _anchor(path: str) -> str:
    return path.replace("[]", "").replace(".", "-").lower()
