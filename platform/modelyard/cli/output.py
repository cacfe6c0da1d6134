"""How verbs print: a table for people; the same rows as JSON or YAML for programs (`-o`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """What `-o` takes."""

    table = "table"
    json = "json"
    yaml = "yaml"


OutputOption = Annotated[Format, typer.Option("-o", "--output", help="How to print: table, json or yaml.")]
YardOption = Annotated[
    str | None,
    typer.Option("--yard", envvar="MODELYARD_YARD", help="The yard's folder.", show_default="./yard"),
]


def emit(value: Any, output: Format, *, columns: Sequence[str] = (), table: str | None = None) -> None:
    """Print `value` (plain JSON values: a dict, or a list of dicts) on stdout.

    As a table: `table` when given (text made by the verb), else `columns` of the rows, headed in capitals.
    """
    if output is Format.json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output is Format.yaml:
        typer.echo(to_yaml(value), nl=False)
    elif table is not None:
        typer.echo(table)
    else:
        typer.echo(to_table([value] if isinstance(value, dict) else value, columns))


def to_yaml(value: Any) -> str:
    """Plain JSON values as YAML, keys in their order."""
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096  # a digest stays on its line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = StringIO()
    yaml.dump(value, out)
    return out.getvalue()


def to_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows under headings, columns padded to their widest cell, as kubectl prints them."""
    cells = [[column.upper().replace("_", " ") for column in columns]]
    cells += [["" if row.get(column) is None else str(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def is_terminal() -> bool:
    """Whether a person watches stdout."""
    return sys.stdout.isatty()


def age(seconds: float) -> str:
    """A span as kubectl shows it: 42s, 7m, 3h, 5d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(seconds, 0))}s"
