"""Pages that are made from the code at build time, so that they cannot disagree with it; called by mkdocs.

reference/<kind>.md from the spec, cli.md from the verbs, errors.md from the exceptions, records.md from the records,
conditions.md from the reasons.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import modelyard.records
from modelyard import errors
from modelyard.records import Part, Record
from modelyard.spec.reasons import meanings
from modelyard.spec.reference import reference_markdown

KINDS = ("TrainingJob", "EvaluationJob", "ModelDeployment")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision note under Design, in the order of its number."""
    notes = sorted(Path(config.docs_dir, "decisions").glob("[0-9]*.md"))
    design = next(section["Design"] for section in config.nav if "Design" in section)
    if notes and not any("Decisions" in entry for entry in design):
        design.append({"Decisions": [f"decisions/{note.name}" for note in notes]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {f"reference/{kind.lower()}.md": reference_markdown(kind) for kind in KINDS}
    pages |= {
        "reference/cli.md": cli_page(),
        "reference/errors.md": errors_page(),
        "reference/records.md": records_page(),
        "reference/conditions.md": conditions_page(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def cli_page() -> str:
    """Every verb with its arguments and options, as `--help` tells them."""
    import typer

    from modelyard.cli.app import app

    group = typer.main.get_command(app)
    names = list(group.commands)  # type: ignore[attr-defined]  # a click group
    lines = ["# Command line", "", "`modelyard VERB --help` says the same in a terminal.", ""]
    lines += ["| verb | what it does |", "| --- | --- |"]
    for name in names:
        lines.append(f"| [`{name}`](#{name}) | {_first_line(group.commands[name].help)} |")  # type: ignore[attr-defined]
    for name in names:
        lines += ["", *_verb(name, group.commands[name])]  # type: ignore[attr-defined]
    return "\n".join(lines) + "\n"


def _verb(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=f"modelyard {name}")
    yield f"## `{name}` {{ #{name} }}"
    yield ""
    yield inspect.cleandoc(command.help or "")
    yield ""
    yield f"    {command.get_usage(context).removeprefix('Usage: ').strip()}"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            words, text = record
            yield f"| `{words}` | {_cell(text)} |"


def errors_page() -> str:
    """The exception tree with exit codes and failure classes."""
    lines = ["# Exit codes and errors", "", inspect.cleandoc(errors.__doc__ or "").splitlines()[0], ""]
    lines += ["| exit code | means |", "| --- | --- |"]
    lines += [f"| {code} | {words} |" for code, words in EXIT_CODES]
    lines += [
        "",
        "In Python every one of these is a `modelyard.errors.ModelyardError`; `str()` is the message, `.hint` the",
    ]
    lines += ["next thing to do. The failure class is what the status document says under `lastFailure.class`.", ""]
    lines += [
        "| error | is a | exit code | failure class | try again | when |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.ModelyardError):
            again = "yes" if kind.retryable else "no"
            base = kind.__bases__[0].__name__
            words = _first_line(kind.__doc__)
            lines.append(f"| `{name}` | `{base}` | {kind.exit_code} | `{kind.failure_class}` | {again} | {words} |")
    return "\n".join(lines) + "\n"


EXIT_CODES = (
    (0, "done"),
    (1, "failed; the message says why and where the logs are"),
    (2, "the manifest or the command line is wrong; nothing was started"),
    (3, "a gate said no"),
    (4, "a verdict could not be reached"),
    (130, "interrupted by Ctrl-C; the same command goes on (143 when by SIGTERM)"),
)


def records_page() -> str:
    """Every record and its parts, field by field, under the names that JSON carries."""
    kinds = [getattr(modelyard.records, name) for name in modelyard.records.__all__]
    kinds = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, Part) and kind not in (Part, Record)]
    lines = ["# Records", "", RECORDS, ""]
    for title, wanted in (("Documents", True), ("Parts of documents", False)):
        lines += [f"## {title}", ""]
        for kind in sorted(kinds, key=lambda k: k.__name__):
            if issubclass(kind, Record) is wanted:
                lines += [*_record(kind), ""]
    return "\n".join(lines) + "\n"


RECORDS = """\
What the yard keeps as JSON. Every record carries `schema`, the number of its layout (now 1); a later one is refused in
words. Times are RFC 3339 UTC, digests `sha256:` and 64 hex digits, losses nats per token. Unset fields are left out."""


def _record(kind: type[Part]) -> Iterator[str]:
    yield f"### {kind.__name__} {{ #{kind.__name__.lower()} }}"
    yield ""
    yield inspect.cleandoc(kind.__doc__ or "")
    yield ""
    yield "| field | type | default |"
    yield "| --- | --- | --- |"
    for name, field in kind.model_fields.items():
        default = "required" if field.is_required() else f"`{_default(field.default)}`"
        yield f"| `{field.alias or name}` | {_cell(_type(field.annotation))} | {default} |"


def _default(value: object) -> str:
    return "unset" if value is None else "empty" if value in ((), {}, "") or isinstance(value, Part) else str(value)


def _type(annotation: Any) -> str:
    """A type in words; other records as links."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, Part):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"map to {_type(inner[1])}"
    if inner:  # X | None
        return " or ".join(_type(one) for one in inner if one is not type(None))
    return {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}.get(
        getattr(annotation, "__name__", ""), "any"
    )


CONDITIONS = """\
`status.phase` is one word for people. `status.conditions` are Kubernetes conditions, for programs: `type`, `status`
(`True`, `False` or `Unknown`), `reason` (a word below), `message` (a sentence), `observedGeneration` (the generation of
the spec of which it was so judged) and `lastTransitionTime` (when `status` last changed). The same conditions stand in
the `status.json` of a run on one machine."""

CONDITION_TYPES = (
    ("Accepted", "all", "the manifest is whole, and all that it names exists", "the message says all that is wrong"),
    ("Progressing", "all", "something is under way", "it has ended, or waits for somebody"),
    ("Suspended", "jobs", "nothing runs, as wished by `spec.suspend` or after a stop", "it may run"),
    ("Complete", "jobs", "it ended as wished; of an EvaluationJob: a verdict was reached, whichever", "never"),
    ("Failed", "jobs", "it ended for good, otherwise than wished; `lastFailure` says why", "never"),
    ("Passed", "EvaluationJob", "every gate said yes", "a gate said no; `Unknown`: it could not be told"),
    ("Available", "ModelDeployment", "the endpoint answers real requests", "it does not"),
)
PHASES = (
    ("TrainingJob", "Pending Preparing Training Evaluating Registering Succeeded Failed Suspended"),
    ("EvaluationJob", "Pending Running Succeeded Failed Suspended"),
    ("ModelDeployment", "Pending Deploying Ready Degraded Failed"),
)


def conditions_page() -> str:
    """Phases, types of conditions, and every reason with what it means."""
    lines = ["# Conditions and reasons", "", CONDITIONS, "", "## Phases", "", "| kind | phases |", "| --- | --- |"]
    lines += [f"| {kind} | {', '.join(f'`{phase}`' for phase in phases.split())} |" for kind, phases in PHASES]
    lines += ["", "## Types", "", "| type | of | True | False |", "| --- | --- | --- | --- |"]
    lines += [f"| `{name}` | {kinds} | {yes} | {no} |" for name, kinds, yes, no in CONDITION_TYPES]
    lines += ["", "## Reasons", "", "| reason | means |", "| --- | --- |"]
    lines += [f"| `{reason}` | {_cell(text)} |" for reason, text in meanings().items()]
    lines += ["", "Events carry the same words, and tell each transition once.", ""]
    return "\n".join(lines)


def _first_line(text: str | None) -> str:
    return _cell((text or "").strip().splitlines()[0] if text else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
