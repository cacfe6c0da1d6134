"""`modelyard status RUN`: what is so about a run, checked against who holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit

if TYPE_CHECKING:
    from modelyard.records import FailureDigest, StatusDocument


def status(
    run: Annotated[str, typer.Argument(help="A run id, or a job's name (its latest run).")],
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Tell a run's phase, progress, metrics, model and failure."""
    from modelyard.cli.places import the_yard
    from modelyard.workflow.standing import status_of

    document = status_of(the_yard(yard).find_run(run))
    emit(document.to_dict(), output, table="\n".join(_lines(document)))


def _lines(document: StatusDocument) -> list[str]:
    lines = [
        f"{document.kind} {document.name}: {document.phase}",
        f"  run         {document.run_id}, attempt {document.attempts}",
        f"  started     {document.start_time}"
        + (f", ended {document.completion_time}" if document.completion_time else ""),
    ]
    progress = document.progress
    if progress:
        total = f" of {progress.total_steps:,}" if progress.total_steps else ""
        rate = f", {progress.tokens_per_second:,.0f} tokens/s" if progress.tokens_per_second else ""
        lines.append(f"  progress    {progress.stage}, step {progress.step:,}{total}{rate}")
    if document.metrics.loss is not None:
        lines.append(f"  loss        {document.metrics.loss:.4f}")
    for one in document.metrics.evaluation:
        interval = f" [{one.low:.4f}, {one.high:.4f}]" if one.low is not None and one.high is not None else ""
        lines.append(f"  evaluation  {one.suite}/{one.metric} {one.value:.4f}{interval}")
    if document.verdict:
        lines.append(f"  verdict     {document.verdict}")
    if document.checkpoint:
        lines.append(f"  checkpoint  step {document.checkpoint.step:,} at {document.checkpoint.time}")
    if document.model:
        lines.append(f"  model       registry://{document.model.name}@{document.model.version}")
    return lines + [f"  {line}" for line in (_failure(document.last_failure) if document.last_failure else [])]


def _failure(failure: FailureDigest) -> list[str]:
    where = ", ".join(f"{key} {value}" for key, value in failure.where.to_dict().items())
    named = failure.message.startswith(failure.failure_class)  # "Interrupted, driver gone since …"
    lines = [f"failure     {failure.message if named else f'{failure.failure_class}: {failure.message}'}"]
    if where:
        lines.append(f"where       {where}")
    lines += [f"            {line}" for line in failure.evidence]
    if failure.hint:
        lines.append(f"hint        {failure.hint}")
    return lines
