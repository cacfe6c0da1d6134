"""The snapshot: any accepted manifest, written and read back, is that manifest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.spec import TrainingJob, to_dict
from modelyard_operator.plan.jobs.children import snapshot
from modelyard_operator.plan.manifests import Refused, accepted, job_of, snapshot_data, snapshot_job
from support.job_worlds import evaluation, job, world

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PARENT = world().parent


def manifest(value: dict[str, Any]) -> Any:
    found = job_of({**PARENT, "kind": value["kind"], "spec": value["spec"]})
    assert not isinstance(found, Refused), found
    return found


@settings(max_examples=100)
@given(text=WORDS, key=WORDS, number=st.floats(1e-12, 1.0), whole=st.integers(0, 2**31))
def test_what_is_written_reads_back(text: str, key: str, number: float, whole: int) -> None:
    wished = manifest(job())
    runtime = {
        "annotations": {key: text},
        "labels": {text: key},
        "affinity": {"a": [text, {key: [number, whole, None]}]},
    }
    made = to_dict(wished, defaults=False) | {}
    made["spec"] = {**made["spec"], "runtime": runtime}
    optimization = made["spec"]["optimization"]
    made["spec"]["optimization"] = {**optimization, "optimizer": {"learningRate": number}, "seed": whole}
    found = job_of({**PARENT, "spec": made["spec"]})
    if not isinstance(found, Refused):
        assert snapshot_job(snapshot(PARENT, found)) == accepted(found)


@pytest.mark.parametrize(
    "text", ["no", "012", "1e-3", "0x1", "null", "~", "2026-01-01", "a: b", "- x", "# y", "é\u2028", " "]
)
def test_words_that_yaml_readers_disagree_on_stay_words(text: str) -> None:
    wished = manifest(job(runtime={"annotations": {"k": text, text: "v"}}))
    kept = snapshot_job(snapshot(PARENT, wished))
    assert kept is not None
    assert kept.spec.runtime is not None
    assert kept.spec.runtime.annotations == {"k": text, text: "v"}


def test_it_reads_as_a_person_would_write_it() -> None:
    lines = snapshot_data(manifest(job()))["manifest.yaml"].splitlines()
    assert lines[:4] == ["apiVersion: modelyard.dev/v1alpha1", "kind: TrainingJob", "metadata:", "  name: small"]
    assert "    count: 2" in lines


def test_what_the_operator_alone_acts_on_is_not_in_it() -> None:
    wished = manifest(job(suspend=True, runtime={"activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 6}))
    kept = accepted(wished)
    assert (kept.spec.suspend, kept.spec.runtime) == (False, None)
    assert isinstance(kept, TrainingJob)


def test_an_evaluation_too() -> None:
    wished = manifest(evaluation())
    assert snapshot_job(snapshot(PARENT, wished)) == accepted(wished)
