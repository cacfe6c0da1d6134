"""`modelyard models [NAME]`: the registry's versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit

if TYPE_CHECKING:
    from modelyard.records import VersionRecord
    from modelyard.registry import Registry

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
    rows, documents, damaged = [], [], False
    for model in [name] if name else registry.names():
        aliases = registry.aliases(model)
        for number in registry.numbers(model):
            record = _read(registry, model, number)
            if record is None:
                damaged = True
                continue
            if verify:
                damaged |= not _is_whole(registry, record)
            pointing = [alias for alias, version in aliases.items() if version == record.version]
            rows.append(_row(record, pointing))
            documents.append({**record.to_dict(), "aliases": pointing})
    if output is Format.table:
        emit(rows, output, columns=_COLUMNS)
    else:
        emit(documents, output)
    if damaged:
        raise typer.Exit(1)


def _read(registry: Registry, name: str, number: int) -> VersionRecord | None:
    """A version; None when its record cannot be read, which is said and keeps none of the others from being listed."""
    from modelyard.errors import StorageError

    try:
        return registry.version(name, number)
    except StorageError as error:
        typer.echo(f"error: {name}@{number}: {error}", err=True)
        return None


def _is_whole(registry: Registry, record: VersionRecord) -> bool:
    """Verify a version and say what came of it; one that is damaged keeps none of the others from being verified."""
    from modelyard.errors import IntegrityError

    try:
        registry.verify(record)
    except IntegrityError as error:
        typer.echo(f"error: {record.name}@{record.version}: {error}", err=True)
        return False
    typer.echo(f"{record.name}@{record.version}: {len(record.files)} files are as registered", err=True)
    return True


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
