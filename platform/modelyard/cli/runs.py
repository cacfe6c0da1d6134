"""`modelyard runs`: the yard's runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, age, emit

if TYPE_CHECKING:
    from modelyard.records import StatusDocument


def runs(yard: YardOption = None, output: OutputOption = Format.table) -> None:
    """List runs: name, phase, step, loss, model, age."""
    from modelyard.cli.places import the_yard
    from modelyard.errors import IntegrityError, NotFoundError
    from modelyard.workflow.standing import status_of

    documents = []
    for folder in the_yard(yard).runs():
        try:
            documents.append(status_of(folder))
        except NotFoundError:
            continue  # claimed, but its driver died before it wrote anything
        except IntegrityError as error:  # one damaged file must not hide the other runs
            typer.echo(f"warning: {error}", err=True)
    if output is Format.table:
        documents.sort(key=lambda document: document.start_time or "")
        emit([_row(document) for document in documents], output, columns=_COLUMNS)
    else:
        emit([document.to_dict() for document in documents], output)


_COLUMNS = ("run", "kind", "phase", "step", "loss", "model", "age")


def _row(document: StatusDocument) -> dict[str, Any]:
    started = datetime.fromisoformat(document.start_time) if document.start_time else None
    loss, model = document.metrics.loss, document.model
    return {
        "run": document.run_id,
        "kind": document.kind,
        "phase": document.phase,
        "step": document.progress.step if document.progress else "",
        "loss": f"{loss:.3f}" if loss is not None else "",
        "model": f"{model.name}@{model.version}" if model else "",
        "age": age((datetime.now(UTC) - started).total_seconds()) if started else "",
    }
