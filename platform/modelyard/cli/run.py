"""`modelyard run -f job.yaml`: from the manifest's text to a registered version, watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit, is_terminal

if TYPE_CHECKING:
    from modelyard.records import MetricValue, StatusDocument
    from modelyard.spec import Manifest
    from modelyard.workflow import ConfigMapSink, RunOptions, Sink, StopRequest
    from modelyard.yard import RunFolder, Yard

_PATIENCE_SECONDS = 90.0  # in a pod: a driver before us that died with its node counts as gone after 60 s of silence
_VERDICT_CODES = {"Failed": 3, "Inconclusive": 4, "Error": 4}


def run(
    *,
    file: Annotated[list[str], typer.Option("-f", "--file", help="A manifest, a folder of them, or - for stdin.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a field: spec.optimization.steps=10.", metavar="PATH=VALUE"),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew: forget what earlier attempts made.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove standing files by their bytes, not size and time.")
    ] = False,
    status_out: Annotated[
        str | None, typer.Option("--status-out", help="Also write the status document to this file.", metavar="FILE")
    ] = None,
    status_configmap: Annotated[
        str | None,
        typer.Option(
            "--status-configmap",
            help="In a pod: also write it to this ConfigMap, and stop when it says so.",
            metavar="NAME",
        ),
    ] = None,
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Run TrainingJobs and EvaluationJobs, in file order; what stands already is skipped.

    Ctrl-C saves and stops; the same command goes on. Exit codes: 0 done, 1 failed, 2 the manifest is wrong,
    3 a gate said no, 4 no verdict could be reached, 130 interrupted.
    """
    from modelyard import workflow
    from modelyard.cli.places import the_yard

    stop = workflow.StopRequest()
    with _told(status_out, status_configmap, stop) as (sinks, configmap, namespace):
        if configmap:
            configmap.begin(*_whose(file[0]))
        manifests = _manifests(file, set_ or (), only_one=bool(status_configmap))
        patience = _PATIENCE_SECONDS if namespace else 0.0
        options = workflow.RunOptions(fresh=fresh, verify=verify, namespace=namespace, patience_seconds=patience)
        if configmap:
            (job,) = manifests
            configmap.begin(job.kind, job.metadata.name, workflow.run_id(job, namespace))
        opened = the_yard(yard, create=True)
        last = _Last()
        try:
            documents = [_run_one(manifest, opened, options, sinks, stop, output, last) for manifest in manifests]
        finally:  # whoever reads stdout wants the status of the job that failed, and of those before it
            if output is not Format.table and last.documents:
                emit([document.to_dict() for document in last.documents.values()], output)
    raise typer.Exit(max(_VERDICT_CODES.get(document.verdict or "", 0) for document in documents))


class _Last:
    """A sink that keeps the last status of each run, however the run ends."""

    def __init__(self) -> None:
        self.documents: dict[str | None, StatusDocument] = {}

    def __call__(self, status: StatusDocument) -> None:
        self.documents[status.run_id] = status


def _manifests(file: Sequence[str], overrides: Sequence[str], *, only_one: bool) -> list[Manifest]:
    from modelyard.errors import InvalidInputError, UsageError
    from modelyard.spec import ModelDeployment, load

    manifests = load(file, overrides=overrides)
    for manifest in manifests:
        if isinstance(manifest, ModelDeployment):
            raise InvalidInputError(
                f"{manifest.metadata.name} is a ModelDeployment: it does not run to an end",
                hint=f"use `modelyard serve -f {file[0]}`",
            )
    if only_one and len(manifests) != 1:
        raise UsageError(f"--status-configmap holds the status of one job; there are {len(manifests)} here")
    return list(manifests)


def _whose(file: str) -> tuple[str, str]:
    """Kind and name as a manifest says them that may be wrong otherwise: its refusal, too, is somebody's status."""
    from modelyard.spec.documents import read_documents

    try:
        documents, _ = read_documents(Path(file).read_text(errors="replace"), origin=file)
    except OSError:
        return "", ""
    said = _mapping(documents[0].value if documents else None)
    kind, name = said.get("kind"), _mapping(said.get("metadata")).get("name")
    return (kind if isinstance(kind, str) else ""), (name if isinstance(name, str) else "")


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


class _Telling(NamedTuple):
    """All sinks, the one of them that is a ConfigMap, and its namespace (empty outside a cluster)."""

    sinks: list[Sink]
    configmap: ConfigMapSink | None = None
    namespace: str = ""


@contextmanager
def _told(out: str | None, configmap: str | None, stop: StopRequest) -> Iterator[_Telling]:
    """Where the status goes besides the yard."""
    from modelyard import kube, workflow
    from modelyard.errors import UsageError

    def aside(text: str) -> None:
        typer.echo(text, err=True)

    sinks: list[Sink] = [workflow.FileSink(Path(out), told=aside)] if out else []
    if configmap is None:
        yield _Telling(sinks)
        return
    account = kube.in_cluster()
    if account is None:
        raise UsageError(
            "--status-configmap is for pods that the operator makes: MODELYARD_NAMESPACE is not set",
            hint="--status-out FILE writes the status document to a file",
        )
    with workflow.to_configmap(configmap, account, stop=stop, told=aside) as sink:
        yield _Telling([*sinks, sink], sink, account.namespace)


def _run_one(
    manifest: Manifest,
    yard: Yard,
    options: RunOptions,
    sinks: Sequence[Sink],
    stop: StopRequest,
    output: Format,
    last: _Last,
) -> StatusDocument:
    from modelyard import workflow
    from modelyard.cli.display import display
    from modelyard.cli.places import storage_root
    from modelyard.errors import GateFailedError, ModelyardError, NoVerdictError
    from modelyard.spec import local_notes

    for_programs = output is not Format.table
    folder = yard.run(workflow.run_id(manifest, options.namespace))
    typer.echo(f"{manifest.kind} {manifest.metadata.name}, run {folder.run_id}", err=for_programs)
    for note in () if options.namespace else local_notes(manifest):
        typer.echo(f"note      {note}", err=for_programs)
    try:
        with display(live=is_terminal() and not for_programs, err=for_programs) as listener:
            document = workflow.run(
                manifest,
                root=storage_root(),
                yard=yard,
                options=options,
                listener=listener,
                sinks=[*sinks, last],
                stop=stop,
            )
    except (GateFailedError, NoVerdictError):
        if not for_programs:
            _last_words(last.documents[folder.run_id], folder)
        raise
    except ModelyardError as error:
        if folder.driver_log.exists() and error.exit_code == 1:
            logs = [folder.driver_log, *([folder.logs] if folder.logs.is_dir() else [])]
            typer.echo(f"logs: {' and '.join(map(str, logs))}", err=True)
        raise
    if not for_programs:
        _last_words(document, folder)
    return document


def _last_words(document: StatusDocument, folder: RunFolder) -> None:
    if document.verdict:
        reasons = [one.message for one in document.conditions if one.type == "Passed" and one.message]
        typer.echo(f"verdict   {': '.join([document.verdict, *reasons])}")
    for metric in document.metrics.evaluation:
        typer.echo(measured(metric))
    if document.model:
        typer.echo(f"model     registry://{document.model.name}@{document.model.version}")
    typer.echo(f"run       {_short(folder.path)}")
    typer.echo(f"report    {_short(folder.report)}")


def measured(metric: MetricValue) -> str:
    """`heldout/bits_per_byte 2.2741 [2.2510, 2.2990], 301 items`."""
    interval = f" [{metric.low:.4f}, {metric.high:.4f}]" if metric.low is not None and metric.high is not None else ""
    return f"{metric.suite}/{metric.metric} {metric.value:.4f}{interval}, {metric.items} items"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
