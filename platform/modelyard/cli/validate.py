"""`modelyard validate -f job.yaml`: every fault of a manifest, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli.output import Format, OutputOption, emit

if TYPE_CHECKING:
    from modelyard.spec import Manifest, ModelSpec, TrainingJob


def validate(
    file: Annotated[list[str], typer.Option("-f", "--file", help="A manifest, a folder of them, or - for stdin.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a field: spec.optimization.steps=10.", metavar="PATH=VALUE"),
    ] = None,
    count: Annotated[
        bool, typer.Option("--count/--no-count", help="State the parameter count (imports torch: seconds).")
    ] = True,
    output: OutputOption = Format.table,
) -> None:
    """Check manifests: all faults at once, with file, line and column. Exit code 2 when there are any.

    Reads the manifests only: whether files and versions exist is seen when a job runs.
    """
    from modelyard.spec import load

    rows = [_row(manifest, count) for manifest in load(file, overrides=set_ or ())]
    emit(rows, output, table="\n".join(map(_line, rows)))


def _line(row: dict[str, Any]) -> str:
    line = f"{row['kind']}/{row['name']} OK: {row['summary']}"
    return "\n".join([line, *(f"  note: {note}" for note in row["notes"])])


def _row(manifest: Manifest, count: bool) -> dict[str, Any]:
    from modelyard.spec import TrainingJob, local_notes, spec_digest

    parameters = count_parameters(manifest.spec.model) if count and isinstance(manifest, TrainingJob) else None
    row: dict[str, Any] = {
        "kind": manifest.kind,
        "name": manifest.metadata.name,
        "summary": _summary(manifest, parameters),
        "specDigest": spec_digest(manifest),
        "notes": local_notes(manifest),
    }
    return row if parameters is None else {**row, "parameters": parameters}


def _summary(manifest: Manifest, parameters: int | None) -> str:
    from modelyard.spec import EvaluationJob, TrainingJob

    if isinstance(manifest, TrainingJob):
        return _training(manifest, parameters)
    if isinstance(manifest, EvaluationJob):
        spec = manifest.spec
        return f"{spec.target.model}, {_several(len(spec.suites), 'suite')}, {_several(len(spec.gates), 'gate')}"
    deployment = manifest.spec
    where = f"http://{deployment.api.host}:{deployment.api.port}"
    return f"{deployment.model}, {_several(deployment.replicas or 0, 'replica')}, {where}"


def _training(job: TrainingJob, parameters: int | None) -> str:
    spec = job.spec
    wish = spec.optimization
    size = f" of {_millions(parameters)} parameters" if parameters is not None else ""
    length = (
        f"{_several(wish.steps, 'step')} of"
        if wish.steps
        else f"{wish.epochs:g} {'epoch' if wish.epochs == 1 else 'epochs'} in batches of"
        if wish.epochs
        else f"{wish.tokens} tokens in batches of"
    )
    batch = wish.sequences_per_step(spec.data.sequence_length) * spec.data.sequence_length
    return (
        f"{spec.model.architecture or spec.model.from_}{size}, {length} {batch} tokens, "
        f"{_several(spec.workers.count, 'worker')}, ZeRO {spec.sharding.zero_stage}"
    )


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _millions(number: int) -> str:
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.1f} M"


def count_parameters(model: ModelSpec) -> int | None:
    """Parameters of a model with random weights; None when a folder decides, or without the platform extra."""
    from modelyard.errors import InvalidInputError, ModelyardError

    trained = model.tokenizer.train if model.tokenizer is not None else None
    if model.architecture is None or trained is None:
        return None
    try:
        from modelyard.model import count_parameters as count
    except ImportError:
        return None
    try:
        return count(model, trained.vocab_size)
    except ModelyardError:
        raise
    except Exception as error:  # transformers refuses a configuration with errors of many classes
        raise InvalidInputError(
            f"spec.model: transformers cannot build this {model.architecture}: {type(error).__name__}: {error}",
            hint="compare spec.model.config with the architecture's own configurations",
        ) from error
