"""`modelyard trace MODEL`: from a version back to the documents it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli.output import Format, OutputOption, YardOption, emit

if TYPE_CHECKING:
    from modelyard.records import SourceRecord
    from modelyard.registry import DatasetLineage, Lineage, RunLineage

Tree = tuple[str, list["Tree"]]
MAX_FILES = 5  # a source of more files names the first; -o json names all


def trace(
    model: Annotated[str, typer.Argument(help="A model: NAME, NAME@VERSION or NAME@ALIAS.")],
    verify: Annotated[bool, typer.Option("--verify", help="Hash the version's files first.")] = False,
    yard: YardOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Show what is behind a model version: run, dataset, sources, each with its digest."""
    from modelyard.cli.places import the_yard
    from modelyard.registry import open_registry
    from modelyard.registry import trace as trace_version

    opened = the_yard(yard)
    registry = open_registry(opened)
    version = registry.resolve(model)
    if verify:
        registry.verify(version)
    lineage = trace_version(opened, version)
    emit(lineage.to_dict(), output, table="\n".join(_lines(_version(lineage))))


def _version(lineage: Lineage) -> Tree:
    record = lineage.version
    aliases = f" ({', '.join(lineage.aliases)})" if lineage.aliases else ""
    facts: list[Tree] = [(f"{len(record.files)} files, registered {record.created}", [])]
    if record.verdict:
        facts.append((f"verdict {record.verdict}", []))
    facts += [(f"{metric.suite}/{metric.metric} {metric.value:.4f}", []) for metric in record.metrics]
    behind = [_run(lineage.run), _dataset(lineage.dataset)]
    if lineage.parent:
        behind.append((f"trained from {lineage.parent_reference}", [_version(lineage.parent)]))
    elif lineage.parent_reference:
        behind.append((f"trained from {lineage.parent_reference}", []))
    return f"model {record.name}@{record.version}{aliases}  {record.digest}", facts + behind


def _run(run: RunLineage) -> Tree:
    below: list[Tree] = [
        (f"spec      {run.spec_digest}", []),
        (f"training  {run.training_digest}", []),
        (f"code      {run.code_version}", []),
    ]
    for stage in run.stages:
        outputs: list[Tree] = [(f"{output.name}  {output.path}  {output.digest}", []) for output in stage.outputs]
        below.append((f"stage {stage.stage}, completed {stage.completed}  input {stage.input_digest}", outputs))
    if run.missing:
        below.append((run.missing, []))
    return f"run {run.run_id}", below


def _dataset(dataset: DatasetLineage) -> Tree:
    below: list[Tree] = []
    if dataset.tokenizer_digest:
        below.append((f"tokenizer  {dataset.tokenizer_digest}", []))
    below += [_source(source) for source in dataset.sources]
    if dataset.missing:
        below.append((dataset.missing, []))
    return f"dataset  {dataset.digest}", below


def _source(source: SourceRecord) -> Tree:
    files: list[Tree] = [
        (f"{file.path}  {file.size_bytes:,} bytes  {file.sha256}", []) for file in source.files[:MAX_FILES]
    ]
    if len(source.files) > MAX_FILES:
        files.append((f"… {len(source.files) - MAX_FILES} more files (-o json names all)", []))
    counts = f"{source.documents:,} documents, {source.text_bytes:,} bytes of text, {source.tokens:,} tokens"
    return f"source {source.name} ({source.split}): {counts}", files


def _lines(tree: Tree, head: str = "", rest: str = "") -> Iterator[str]:
    text, below = tree
    yield head + text
    for number, child in enumerate(below):
        last = number == len(below) - 1
        yield from _lines(child, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))
