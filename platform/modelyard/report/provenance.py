"""Where the model came from: data counts that add up, the chain of digests, stages, attempts, environment. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.records import AttemptRecord, DatasetRecord, SourceRecord, StageRecord
from modelyard.report.gather import Evidence
from modelyard.report.words import between, count, duration, moment, short, size


@dataclass(frozen=True)
class SourceLine:
    """A source (or the sum of a split) in words; `excluded` pairs a reason with a count; `adds_up` was computed."""

    name: str
    split: str
    format: str
    files: str
    records: str
    documents: str
    excluded: tuple[tuple[str, str], ...]
    text: str
    tokens: str
    adds_up: bool


@dataclass(frozen=True)
class Link:
    """One step of the lineage: what it is, its name, (label, value) facts; digests are shown whole."""

    kind: str
    name: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StageBar:
    """A finished stage on the time line: where it begins and how wide it is, in percent of the whole."""

    name: str
    left: float
    width: float
    spent: str
    attempt: int
    summary: str


def source_lines(dataset: DatasetRecord | None) -> tuple[SourceLine, ...]:
    """Every source, and a line with the sum for a split that has several."""
    lines: list[SourceLine] = []
    for split in dict.fromkeys(source.split for source in dataset.sources) if dataset else ():
        ours = [source for source in dataset.sources if source.split == split] if dataset else []
        lines += map(_source_line, ours)
        if len(ours) > 1:
            lines.append(_source_line(_sum(ours)))
    return tuple(lines)


def lineage(evidence: Evidence) -> tuple[Link, ...]:
    """From the model version back to the files, as far as the run has come."""
    links = [_version_link(evidence), _evaluated_link(evidence), _run_link(evidence), _dataset_link(evidence.dataset)]
    sources = evidence.dataset.sources if evidence.dataset else ()
    return tuple(link for link in links if link) + tuple(map(_source_link, sources))


def stage_bars(stages: Sequence[StageRecord]) -> tuple[StageBar, ...]:
    """The stages on one time line; spans that cannot be read are left out."""
    spans = [
        (stage, between(stages[0].started, stage.started), between(stage.started, stage.completed)) for stage in stages
    ]
    known = [(stage, begin, spent) for stage, begin, spent in spans if begin is not None and spent is not None]
    whole = max((begin + spent for _, begin, spent in known), default=0.0) or 1.0
    return tuple(
        StageBar(
            name=stage.stage,
            left=max(0.0, 100 * begin / whole),
            width=max(0.4, 100 * spent / whole),
            spent=duration(spent),
            attempt=stage.attempt,
            summary=str(stage.details.get("summary", "")),
        )
        for stage, begin, spent in known
    )


def attempt_lines(attempts: Sequence[AttemptRecord]) -> tuple[tuple[str, str, str, str], ...]:
    """(number, what, when, where) of each claim on the run."""
    roles = {"driver": "driver took the run", "group": "workers started"}
    return tuple(
        (str(a.attempt), roles.get(a.role, a.role), moment(a.claimed), f"{a.host}, process {a.pid}") for a in attempts
    )


def start_up(events: Sequence[dict[str, Any]]) -> str:
    """What the last start of training spent up to its first step: `group 22 s, imports 3.1 s`; empty when untold."""
    told = [event.get("startSeconds") for event in events if event.get("event") == "TrainingStarted"]
    spans = told[-1] if told and isinstance(told[-1], dict) else {}
    return ", ".join(
        f"{name.replace('_', ' ')} {duration(spent)}" for name, spent in spans.items() if isinstance(spent, int | float)
    )


def environment(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """The environment of the train stage, else of the last finished stage, else of the dataset."""
    stage = evidence.stage("train") or (evidence.stages[-1] if evidence.stages else None)
    facts = stage.environment if stage else (evidence.dataset.environment if evidence.dataset else {})
    return tuple(sorted(facts.items()))


def _source_line(source: SourceRecord) -> SourceLine:
    return SourceLine(
        name=source.name,
        split=source.split,
        format=source.format,
        files=count(len(source.files)),
        records=count(source.records),
        documents=count(source.documents),
        excluded=tuple((reason, count(n)) for reason, n in sorted(source.excluded.items()) if n),
        text=size(source.text_bytes),
        tokens=count(source.tokens),
        adds_up=source.records == source.documents + sum(source.excluded.values()),
    )


def _sum(sources: Sequence[SourceRecord]) -> SourceRecord:
    excluded: Counter[str] = Counter()
    for source in sources:
        excluded.update(source.excluded)
    return SourceRecord(
        name="all",
        split=sources[0].split,
        format="",
        files=tuple(file for source in sources for file in source.files),
        records=sum(s.records for s in sources),
        documents=sum(s.documents for s in sources),
        excluded=dict(excluded),
        text_bytes=sum(s.text_bytes for s in sources),
        tokens=sum(s.tokens for s in sources),
    )


def _version_link(evidence: Evidence) -> Link | None:
    version = evidence.version
    if version is None:
        return None
    facts = [("digest", version.digest), ("step", count(version.step)), ("parameters", count(version.parameters))]
    facts += [("parent", version.parent)] if version.parent else []
    facts += [("registered", moment(version.created)), ("code", version.code_version)]
    return Link("model version", f"{version.name}@{version.version}", tuple(facts))


def _evaluated_link(evidence: Evidence) -> Link | None:
    """What an EvaluationJob looked at; the model that a TrainingJob evaluates is its own."""
    if evidence.evaluation is None or evidence.status is None or evidence.status.kind != "EvaluationJob":
        return None
    return Link("evaluated model", evidence.evaluation.model, (("digest", evidence.evaluation.model_digest),))


def _run_link(evidence: Evidence) -> Link:
    facts = []
    if evidence.version:
        facts += [("spec", evidence.version.spec_digest), ("training", evidence.version.training_digest)]
    if evidence.status and evidence.status.checkpoint:
        facts.append(
            ("newest commit", f"{evidence.status.checkpoint.path} of {moment(evidence.status.checkpoint.time)}")
        )
    return Link("run", evidence.run_id, tuple(facts))


def _dataset_link(dataset: DatasetRecord | None) -> Link | None:
    if dataset is None:
        return None
    facts = (
        ("digest", dataset.digest),
        ("tokenizer", f"{dataset.tokenizer_digest} (vocabulary {count(dataset.vocab_size)})"),
        ("prepared", moment(dataset.created)),
    )
    return Link("dataset", short(dataset.digest), facts)


def _source_link(source: SourceRecord) -> Link:
    shown = tuple((file.path, f"{size(file.size_bytes)}, {file.sha256}") for file in source.files[:20])
    more = (("…", f"{count(len(source.files) - 20)} more files in dataset.json"),) if len(source.files) > 20 else ()
    return Link(f"source, {source.split}", source.name, shown + more)
