"""`modelyard report RUN`: the run's report.html, made anew from its records."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit


def report(
    run: Annotated[str, typer.Argument(help="A run id, or a job's name (its latest run).")],
    show: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Write report.html: curves, evaluation, data, lineage, environment in one file."""
    from modelyard.cli.places import the_yard
    from modelyard.errors import NotFoundError, StorageError
    from modelyard.report import render
    from modelyard.workflow.standing import status_of

    opened = the_yard(yard)
    folder = opened.find_run(run)
    try:
        status = status_of(folder)
    except (NotFoundError, StorageError):
        status = None  # the page says so
    path = render(folder, opened, status=status)
    emit({"run": folder.run_id, "report": str(path)}, output, table=str(path))
    if show:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
