"""report.html from what was gathered: one file, no address in it, every piece of data escaped."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from modelyard.records import StatusDocument
from modelyard.report.curves import Curves
from modelyard.report.evaluation import EvaluationView, evaluation_view, headline, interval
from modelyard.report.gather import Evidence
from modelyard.report.provenance import attempt_lines, environment, lineage, source_lines, stage_bars, start_up
from modelyard.report.training import TrainingView, points, training_view
from modelyard.report.words import between, count, duration, figure, moment, number, short

# Words first, so that no reader depends on the colour; the second is the class that colours the pill.
_PHASES = {
    "Succeeded": ("✓", "good"),
    "Ready": ("✓", "good"),
    "Failed": ("✕", "bad"),
    "Degraded": ("!", "warn"),
    "Suspended": ("‖", "warn"),
}
_VERDICTS = {"Passed": ("✓", "good"), "Failed": ("✕", "bad"), "Inconclusive": ("?", "warn"), "Error": ("!", "bad")}


@dataclass(frozen=True)
class Tile:
    """A key figure with what it means."""

    label: str
    value: str
    unit: str
    note: str


def page(evidence: Evidence, *, now: str) -> str:
    """The whole document. `now` is when it was made (RFC 3339)."""
    training, evaluated = training_view(evidence.curves), evaluation_view(evidence.evaluation)
    style, script = _asset("style.css"), _asset("page.js")
    return _template().render(
        evidence=evidence,
        name=evidence.status.name if evidence.status else evidence.run_id,
        kind=evidence.status.kind if evidence.status else "Run",
        status=evidence.status,
        phase=_phase(evidence.status),
        summary=summary(evidence),
        tiles=tiles(evidence),
        training=training,
        evaluation=evaluated,
        sources=source_lines(evidence.dataset),
        lineage=lineage(evidence),
        bars=stage_bars(evidence.stages),
        starting=start_up(evidence.events),
        attempts=attempt_lines(evidence.attempts),
        environment=environment(evidence),
        sections=_sections(evidence, training, evaluated),
        verdicts=_VERDICTS,
        style=Markup(style),
        script=Markup(script),
        script_hash=_hash(script),
        style_hash=_hash(style),
        made=moment(now),
        version=importlib.metadata.version("modelyard"),
    )


def summary(evidence: Evidence) -> str:
    """The run in one or two sentences, as far as it has come."""
    said = []
    if steps := _steps(evidence):
        parameters = evidence.version.parameters if evidence.version else 0
        size = f"A model of {number(parameters)} parameters" if parameters else "The model"
        said.append(f"{size} was trained for {steps} on {count(_tokens(evidence))} tokens.")
    if found := headline(evidence.evaluation):
        metric, beside = found
        words = f"On the suite {metric.suite} it reaches {figure(metric.value)} bits per byte"
        if unigram := beside.get("unigram"):
            side = "below" if metric.value < unigram else "above"
            words += f", {abs(1 - metric.value / unigram):.1%} {side} a unigram model of the same tokens"
        said.append(words + ".")
    return " ".join(said)


def tiles(evidence: Evidence) -> tuple[Tile, ...]:
    """The figures that one looks for first; those that do not exist yet are left out."""
    out = []
    if found := headline(evidence.evaluation):
        metric, _ = found
        note = f"95 % interval {interval(metric)}" if interval(metric) else f"on {metric.suite}"
        out.append(Tile("Held-out text", figure(metric.value), "bits/byte", note))
    out += _training_tiles(evidence.curves)
    if steps := _steps(evidence):
        out.append(Tile("Trained on", number(_tokens(evidence)), "tokens", steps))
    if speeds := sorted(value for _, value in points(evidence.curves, "tokensPerSecond")):
        out.append(Tile("Throughput", count(round(speeds[len(speeds) // 2])), "tokens/s", "median over the steps"))
    out += _time_tiles(evidence)
    if evidence.version:
        version = evidence.version
        out.append(Tile("Registered", f"{version.name}@{version.version}", "", f"sha256 {short(version.digest)}"))
    return tuple(out)


def _training_tiles(curves: Curves) -> list[Tile]:
    losses, validation = points(curves, "loss"), points(curves, "validationLoss")
    if validation:
        step, value = validation[-1]
        return [Tile("Validation loss", figure(value), "nats/token", f"at step {count(int(step))}")]
    return (
        [Tile("Training loss", figure(losses[-1][1]), "nats/token", f"at step {count(int(losses[-1][0]))}")]
        if losses
        else []
    )


def _time_tiles(evidence: Evidence) -> list[Tile]:
    """What the finished stages took together: a run found standing a day later did not take a day."""
    spent = {stage.stage: between(stage.started, stage.completed) or 0.0 for stage in evidence.stages}
    longest = sorted(spent, key=lambda name: -spent[name])[:2]
    note = ", ".join(f"{name} {duration(spent[name])}" for name in longest)
    return [Tile("Stages took", duration(sum(spent.values())), "", note)] if spent else []


def _phase(status: StatusDocument | None) -> tuple[str, str, str]:
    """(sign, word, class) of the pill beside the name."""
    if status is None:
        return "?", "no status", "warn"
    sign, look = _PHASES.get(status.phase, ("…", "live"))
    return sign, status.phase, look


def _steps(evidence: Evidence) -> str:
    """`480 steps`, `132 of 480 steps`, or nothing before the first."""
    if not evidence.curves:
        return ""
    step = evidence.curves.steps[-1]
    total = int(evidence.curves.last("totalSteps", step))
    return f"{count(step)} of {count(total)} steps" if total != step else f"{count(step)} steps"


def _tokens(evidence: Evidence) -> int:
    """Tokens trained on up to the last step; those of a redone step count once."""
    return int(evidence.curves.last("tokens", 0))


def _sections(
    evidence: Evidence, training: TrainingView | None, evaluated: EvaluationView | None
) -> tuple[tuple[str, str], ...]:
    """(anchor, words) of what the page will hold."""
    wanted = (
        ("training", "Training", training),
        ("evaluation", "Evaluation", evaluated),
        ("data", "Data", evidence.dataset),
        ("lineage", "Lineage", True),
        ("run", "Run", evidence.status or evidence.stages),
        ("environment", "Environment", environment(evidence)),
        ("manifest", "Manifest", evidence.manifest),
    )
    return tuple((anchor, words) for anchor, words, there in wanted if there)


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"moment": moment, "figure": figure, "count": count, "short": short}
    return environment.from_string(_asset("page.html.j2"))


def _asset(name: str) -> str:
    return resources.files("modelyard.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """How a content security policy names the one inline script and the one style sheet that may apply."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
