"""`modelyard models [NAME]`: the registry's versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit

if TYPE_CHECKING:
    from modelyard.records import VersionRecord

_COLUMNS = ("name", "version", "aliases", "created", "bits_per_byte", "verdict", "run")


def models(
    name: Annotated[str | None, typer.Argument(help="Only this model's versions.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file and compare with the records.")] = False,
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """List model versions: aliases, bits per byte, verdict, the run that made them."""
    from modelyard.cli.places import the_yard
    from modelyard.registry import open_registry

    registry = open_registry(the_yard(yard))
    rows, documents, damaged = [], [], list[str]()
    for model in [name] if name else registry.names():
        aliases: dict[str, int] = {}
        with _told(f"aliases of {model}", damaged):
            aliases = registry.aliases(model)
        for number in registry.numbers(model):
            with _told(f"{model}@{number}", damaged):
                record = registry.version(model, number)
                pointing = [alias for alias, version in aliases.items() if version == number]
                rows.append(_row(record, pointing))
                documents.append({**record.to_dict(), "aliases": pointing})
                if verify:
                    registry.verify(record)
                    typer.echo(f"{model}@{number}: {len(record.files)} files are as registered", err=True)
    if output is Format.table:
        emit(rows, output, columns=_COLUMNS)
    else:
        emit(documents, output)
    if damaged:
        raise typer.Exit(1)


@contextlib.contextmanager
def _told(what: str, damaged: list[str]) -> Iterator[None]:
    """Say what cannot be read, note it, and go on: it keeps nothing else from being listed or verified."""
    from modelyard.errors import StorageError

    try:
        yield
    except StorageError as error:
        typer.echo(f"error: {what}: {error}", err=True)
        damaged.append(what)


def _row(record: VersionRecord, aliases: list[str]) -> dict[str, Any]:
    bits = [f"{metric.value:.3f}" for metric in record.metrics if metric.metric == "bits_per_byte"]
    return {
        "name": record.name,
        "version": record.version,
        "aliases": ", ".join(aliases),
        "created": record.created,
        "bits_per_byte": ", ".join(bits),
        "verdict": record.verdict,
        "run": record.run_id,
    }
