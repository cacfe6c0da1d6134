"""`modelyard init --data FOLDER`: a commented starter manifest for a folder of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of text (.txt, .md) or JSON lines (.jsonl), also .gz and .zst.")
    ] = Path("data"),
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write to this file instead of printing; - prints.", metavar="FILE"),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of job and model; left out: the folder's.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file when it exists.")] = False,
) -> None:
    """Look at a folder of text and write a TrainingJob that fits it, with comments; `modelyard run -f` takes it."""
    from modelyard.errors import ConflictError, UsageError
    from modelyard.spec.starter import look_at, starter_manifest

    found = look_at(data)
    if output == Path("-"):
        output = None
    text = starter_manifest(found, name=name, file=str(output or "FILE"))
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise ConflictError(f"{output} exists", hint="name another file, or add --force")
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", hint="name another file with -o") from error
    typer.echo(f"{output}: {found.summary}. Next: modelyard run -f {output}")
