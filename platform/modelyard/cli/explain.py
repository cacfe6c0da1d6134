"""`modelyard explain trainingjob.spec.optimization`: what a field means, at hand."""

from __future__ import annotations

from typing import Annotated

import typer


def complete(incomplete: str) -> list[str]:
    """What may follow at the shell: kinds, then the fields of what stands there."""
    from modelyard.spec.explaining import continuations

    return continuations(incomplete)


def explain(
    path: Annotated[
        str,
        typer.Argument(
            help="A kind (or tj, ej, md), or a field below it: tj.spec.data.train.", autocompletion=complete
        ),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Names and types of everything below.")] = False,
) -> None:
    """Tell what a kind or a field of the manifest means, its default and what is allowed."""
    from modelyard.spec import explain as words_of

    typer.echo(words_of(path, recursive=recursive), nl=False)
