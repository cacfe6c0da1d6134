"""`modelyard explain trainingjob.spec.optimization`: field docs at hand, laid out as `kubectl explain` does."""

from __future__ import annotations

import textwrap

from modelyard.errors import NotFoundError
from modelyard.spec.descriptions import FieldDescription, describe, summary
from modelyard.spec.fields import fields_of, part_at, part_class
from modelyard.spec.manifests import API_VERSION, KINDS, SHORT_NAMES
from modelyard.spec.parts import SpecPart
from modelyard.spec.schemas import find_kind
from modelyard.spec.wording import listing, nearest


def explain(path: str, *, recursive: bool = False) -> str:
    """The docs of a kind or of the field at a path below it (`tj.spec.data.train.path`; indices may stand there).

    Raises NotFoundError with the nearest name for a path that does not exist.
    """
    words = [word for word in path.replace("[", ".").replace("]", "").split(".") if word and not word.isdigit()]
    if not words:
        raise NotFoundError("no kind is named", hint=f"kinds: {', '.join(KINDS)}")
    kind = find_kind(words[0])
    head = [f"KIND:     {kind}", f"VERSION:  {API_VERSION}", ""]
    part: type[SpecPart] | None = KINDS[kind]
    if len(words) > 1:
        field, part = _find(KINDS[kind], words[1:], kind)
        head += [f"FIELD:    {field.name} <{field.kind}>", *_facts(field, "          "), ""]
        meaning = field.meaning
    else:
        meaning = summary(KINDS[kind])
    lines = [*head, "DESCRIPTION:", *_wrapped(meaning, "    ")]
    if part is not None:
        lines += ["", "FIELDS:", *_fields(part, "  ", recursive)]
    return "\n".join(lines) + "\n"


def continuations(path: str) -> list[str]:
    """Paths that begin with an unfinished one: `tj.spec.op` → `tj.spec.optimization`. For completion at the shell."""
    above, dot, begun = path.rpartition(".")
    if not dot:
        return [word for word in (*(kind.lower() for kind in KINDS), *SHORT_NAMES) if word.startswith(begun)]
    words = above.split(".")
    try:
        part = part_at(KINDS[find_kind(words[0])], tuple(words[1:]))
    except NotFoundError:
        return []
    names = [name for name, _ in fields_of(part)] if part is not None else []
    return [f"{above}.{name}" for name in names if name.startswith(begun)]


def _find(kind: type[SpecPart], words: list[str], name: str) -> tuple[FieldDescription, type[SpecPart] | None]:
    part: type[SpecPart] | None = kind
    told = name.lower()
    for depth, word in enumerate(words):
        if part is None:
            raise NotFoundError(f"{told} has no fields of its own", hint=f"modelyard explain {told}")
        names = [field_name for field_name, _ in fields_of(part)]
        if word not in names:
            near = nearest(word, names)
            hint = f"did you mean {told}.{near}?" if near else f"fields there: {listing(names)}"
            raise NotFoundError(f"{told} has no field {word}", hint=hint)
        if depth == len(words) - 1:
            break
        part = part_class(dict(fields_of(part))[word].annotation)
        told += f".{word}"
    assert part is not None
    field = next(field for field in describe(part) if field.name == words[-1])
    return field, field.part


def _facts(field: FieldDescription, indent: str) -> list[str]:
    facts = [f"default: {field.default}"] if field.default else []
    facts += [f"allowed: {field.allowed}"] if field.allowed else []
    return [line for fact in facts for line in _wrapped(fact, indent)]


def _fields(part: type[SpecPart], indent: str, recursive: bool) -> list[str]:
    lines: list[str] = []
    for field in describe(part):
        lines.append(f"{indent}{field.name}\t<{field.kind}>" + (" -required-" if field.required else ""))
        if recursive:
            lines += _fields(field.part, indent + "  ", True) if field.part is not None else []
        else:
            lines += [*_wrapped(field.meaning, indent + "  "), *_facts(field, indent + "  "), ""]
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, width=100, initial_indent=indent, subsequent_indent=indent)
