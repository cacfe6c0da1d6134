"""`modelyard alias NAME [ALIAS [VERSION]]`: where aliases point, and how they came there."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit

if TYPE_CHECKING:
    from modelyard.records import AliasRecord
    from modelyard.registry import Registry


def alias(
    name: Annotated[str, typer.Argument(help="A model.")],
    alias: Annotated[str | None, typer.Argument(help="An alias; alone, its history is shown.")] = None,
    version: Annotated[
        str | None, typer.Argument(help="Where to point it: a version (3, or NAME@3), or another alias.")
    ] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away; its history stays.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.")] = "",
    revision: Annotated[
        int | None, typer.Option("--revision", min=0, help="Refuse when the alias is not at this revision (0: new).")
    ] = None,
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """List a model's aliases, show one's history, point it at a version, or remove it."""
    from modelyard.cli.places import the_yard
    from modelyard.errors import NotFoundError, UsageError
    from modelyard.registry import SCHEME, open_registry

    if remove and (alias is None or version is not None):
        raise UsageError("--remove takes a model and an alias", hint="modelyard alias NAME ALIAS --remove")
    if "@" in name:
        model = name.removeprefix(SCHEME).partition("@")[0]
        raise UsageError(f"{name} is a version, and aliases are of a model", hint=f"modelyard alias {model} lists them")
    registry = open_registry(the_yard(yard))
    if alias is None:
        return _list(registry, name, output)
    if remove:
        moved = registry.remove_alias(name, alias, by=_user(), reason=reason, expected_revision=revision)
        return emit(moved.to_dict(), output, table=f"{name}@{alias} is removed")
    if version is not None:
        number = registry.resolve(f"{name}@{_pick(name, version)}").record.version
        moved = registry.set_alias(name, alias, number, by=_user(), reason=reason, expected_revision=revision)
        return emit(moved.to_dict(), output, table=f"{name}@{alias} is version {number}")
    registry.numbers(name)
    record = registry.alias(name, alias)
    if record is None:
        raise NotFoundError(f"model {name!r} has no alias {alias!r}", hint=f"modelyard alias {name} lists them")
    return emit(record.to_dict(), output, table=_history(record))


def _pick(name: str, version: str) -> str:
    """`3` of `3`, and of `NAME@3` too."""
    from modelyard.errors import UsageError
    from modelyard.registry import SCHEME

    model, at, pick = version.removeprefix(SCHEME).rpartition("@")
    if at and model != name:
        raise UsageError(f"{version} is no version of {name}", hint="an alias points at a version of its own model")
    return pick


def _list(registry: Registry, name: str, output: Format) -> None:
    registry.numbers(name)
    records = [registry.alias(name, alias) for alias in registry.aliases(name)]
    if output is Format.table:
        return emit([_row(record) for record in records if record], output, columns=_LIST_COLUMNS)
    return emit([record.to_dict() for record in records if record], output)


_LIST_COLUMNS = ("alias", "version", "since", "by", "reason")


def _row(record: AliasRecord) -> dict[str, Any]:
    last = record.history[-1]
    return {
        "alias": record.alias,
        "version": record.version,
        "since": last.time,
        "by": last.by,
        "reason": last.reason,
    }


def _history(record: AliasRecord) -> str:
    from modelyard.cli.output import to_table

    first = record.revision - len(record.history) + 1  # on a cluster only the last changes are kept
    rows = [
        {
            "revision": number,
            "version": change.version or "removed",
            "time": change.time,
            "by": change.by,
            "reason": change.reason,
        }
        for number, change in enumerate(record.history, start=first)
    ]
    return to_table(rows, ("revision", "version", "time", "by", "reason"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
