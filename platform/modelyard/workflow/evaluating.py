"""The evaluate stage of a TrainingJob: the trained folder is scored on the suites, the gates weigh the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelyard import yard as yards
from modelyard.data.sources import find_files
from modelyard.errors import ModelyardError
from modelyard.evaluate.task import EvaluateTask
from modelyard.records import EvaluationRecord, MetricValue, Progress, StageOutput, StageRecord
from modelyard.spec import SuiteSpec, TrainingJob, WorkersSpec
from modelyard.workflow import preparing, training
from modelyard.workflow.attempt import Attempt, Job
from modelyard.workflow.environment import environment
from modelyard.workflow.news import Progressed
from modelyard.workflow.stages import Made, output


def inputs(attempt: Attempt[TrainingJob]) -> dict[str, Any]:
    """The model, the suites with the bytes of their own sources, the gates."""
    wish = attempt.job.spec.evaluation
    return {
        "export": output(attempt.records["train"], "export").digest,
        "dataset": preparing.dataset(attempt).digest,
        "suites": [suite.model_dump(mode="json") for suite in wish.suites],
        "sources": source_digests(wish.suites, attempt.root),
        "gates": [gate.model_dump(mode="json") for gate in wish.gates],
    }


def work(attempt: Attempt[TrainingJob]) -> Made:
    """Score in a process of its own with the workers' resources."""
    wish = attempt.job.spec.evaluation
    if not wish.suites:
        return Made(outputs=(), summary="no suites to run")
    task = EvaluateTask(
        model_folder=str(training.export_folder(attempt)),
        model_name=attempt.folder.run_id,
        model_digest=output(attempt.records["train"], "export").digest,
        dataset_folder=str(attempt.yard.dataset_folder(preparing.dataset(attempt).digest)),
        root=str(attempt.root),
        suites=tuple(suite.model_dump_json(by_alias=True) for suite in wish.suites),
        gates=tuple(gate.model_dump_json(by_alias=True) for gate in wish.gates),
        precision=attempt.job.spec.optimization.precision,
        now=attempt.board.now(),
        environment=environment(),
    )
    record = score(attempt, task, attempt.job.spec.workers)
    return made(attempt, record)


def score(attempt: Attempt[Job], task: EvaluateTask, workers: WorkersSpec) -> EvaluationRecord:
    """Run the task on Ray and show its progress."""
    from modelyard.evaluate import on_ray

    standing = attempt.board.document.progress or Progress(stage="evaluate")

    def progress(doing: str, done: int, total: int) -> None:
        attempt.board.progress(Progressed(standing, doing, done, total))

    attempt.ray.ready()
    return on_ray.launch(
        task, workers=workers, scratch=attempt.folder.evaluate, on_progress=progress, check=attempt.stop.check
    )


def made(attempt: Attempt[Job], record: EvaluationRecord) -> Made:
    """Keep the evaluation under its own digest's name, and tell the board."""
    text = record.to_json()
    digest = yards.digest_bytes(text)
    path = attempt.folder.evaluate / f"evaluation-{digest.removeprefix('sha256:')[:16]}.json"
    yards.publish(path, text)
    attempt.board.evaluated(_values(record))
    words = _summary(record)
    return Made(
        outputs=(StageOutput(name="evaluation", path=str(path.relative_to(attempt.yard.root)), digest=digest),),
        summary=f"{words}; verdict {record.verdict}" if record.verdict else words,
        details={"verdict": record.verdict},
    )


def _values(record: EvaluationRecord) -> list[MetricValue]:
    """All metrics; those that gates look at come first, for the first is what `kubectl get` shows."""
    gated = {gate.metric for gate in record.gates}
    values = [metric for suite in record.suites for metric in suite.metrics]
    return sorted(values, key=lambda value: f"{value.suite}/{value.metric}" not in gated)


def _summary(record: EvaluationRecord) -> str:
    """The first thing to know of each suite: bits per byte with its interval, or why there is none; comparisons."""
    said = []
    for suite in record.suites:
        bits = next((metric for metric in suite.metrics if metric.metric == "bits_per_byte"), None)
        if bits is None:
            said.append(f"{suite.name}: {suite.message or 'nothing was scored'}")
        else:
            interval = f" [{bits.low:.3f}, {bits.high:.3f}]" if bits.low is not None and bits.high is not None else ""
            said.append(f"{suite.name}/{bits.metric} {bits.value:.3f}{interval}")
    return ", ".join([*said, *_differences(record)])


def _differences(record: EvaluationRecord) -> Iterator[str]:
    """By how much gated metrics differ from the baseline's, or that there is none."""
    if record.baseline and record.baseline.missing:
        yield "no baseline"
    for gate in record.gates:
        found = gate.difference
        if found is not None and record.baseline is not None:
            interval = "" if found.low is None or found.high is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
            yield f"{gate.metric} {found.value:+.3f}{interval} against {record.baseline.model}"


def stands(attempt: Attempt[Job], record: StageRecord) -> bool:
    """Whether the recorded evaluation can be read."""
    try:
        found = read(attempt, record)
    except ModelyardError:
        return False
    if found:
        attempt.board.evaluated(_values(found))
    return True


def evaluation(attempt: Attempt[Job]) -> EvaluationRecord | None:
    """What this attempt's evaluate stage found (or found standing); None when there are no suites."""
    return read(attempt, attempt.records["evaluate"])


def read(attempt: Attempt[Job], record: StageRecord) -> EvaluationRecord | None:
    """The evaluation that a stage record points to."""
    if not record.outputs:
        return None
    path = attempt.yard.root / output(record, "evaluation").path
    return yards.read_record(path, EvaluationRecord)


def source_digests(suites: tuple[SuiteSpec, ...], root: Path) -> dict[str, str]:
    """Name → digest of every file that the suites' own sources name."""
    return {
        file.name: yards.digest_file(file.path)
        for suite in suites
        for source in suite.sources
        for file in find_files(source, root=root)
    }
