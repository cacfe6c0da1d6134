"""`modelyard explain trainingjob.spec.optimization`: what a field means, at hand."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    path: Annotated[str, typer.Argument(help="A kind (or tj, ej, md), or a field below it: tj.spec.data.train.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Names and types of everything below.")] = False,
) -> None:
    """Tell what a kind or a field of the manifest means, its default and what is allowed."""
    from modelyard.spec import explain as words_of

    typer.echo(words_of(path, recursive=recursive), nl=False)
