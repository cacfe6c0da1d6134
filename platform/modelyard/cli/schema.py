"""`modelyard schema`: JSON Schema of the manifests, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.output import Format, emit


def schema(
    kind: Annotated[str | None, typer.Argument(help="One kind (or tj, ej, md); left out: any.")] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print: json or yaml.")] = Format.json,
) -> None:
    """Print the JSON Schema of manifests: editors complete and check with it.

    In VS Code (YAML extension): # yaml-language-server: $schema=modelyard.schema.json
    """
    from modelyard.spec import json_schema

    emit(json_schema(kind), Format.yaml if output is Format.yaml else Format.json)
