"""What the report shows of a comparison."""

from __future__ import annotations

from modelyard.records import BaselineResult, Difference, GateResult
from modelyard.report.evaluation import evaluation_view
from support.sample_run import digest, evaluation


def test_a_baseline_stands_beside_the_model() -> None:
    record = evaluation()
    suite = record.suites[0]
    theirs = tuple(metric.model_copy(update={"value": metric.value * 2}) for metric in suite.metrics)
    found = Difference(target=2.2682, baseline=4.5364, value=-2.2682, confidence=0.95, items=231)
    gate = GateResult(
        metric="heldout/bits_per_byte", rule="notWorseThanBaseline", bound=0.01, verdict="Passed", value=2.2682,
        difference=found, message="heldout/bits_per_byte is 2.2682, -2.268 against quickstart@1",
    )  # fmt: skip
    baseline = BaselineResult(
        model="quickstart@1", model_digest=digest("one"), suites=(suite.model_copy(update={"metrics": theirs}),)
    )
    view = evaluation_view(record.model_copy(update={"baseline": baseline, "gates": (gate,)}))
    assert view is not None
    assert view.baseline.startswith("Compared with quickstart@1 (sha256 ")
    assert "baseline 4.536 (-50.0%)" in view.suites[0].metrics[0].note
    assert "baseline 612.8 (-50.0%)" in view.suites[0].metrics[1].note
    assert "baseline 4.536" in view.suites[0].plot
    assert view.gates[0].rule == "not worse than the baseline by more than 0.01"
    assert "against quickstart@1" in view.gates[0].message


def test_that_there_was_no_baseline_is_said() -> None:
    missing = BaselineResult(model="registry://quickstart@stable", missing="there is no registry://quickstart@stable")
    view = evaluation_view(evaluation().model_copy(update={"baseline": missing}))
    assert view is not None
    assert view.baseline == "Compared with nothing: there is no registry://quickstart@stable."
    assert "baseline" not in view.suites[0].plot
