"""`modelyard run`, as a user runs it: real Ray, real workers, real signals, on a few kilobytes of text."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from modelyard.records import EvaluationRecord, StatusDocument, VersionRecord
from modelyard.registry import open_registry
from modelyard.yard import open_yard, read_record, read_stage
from support.tiny_models import write_tiny_model
from support.workplaces import Workplace, left_over, make_workplace, wait_until

EVALUATION = """\
---
apiVersion: modelyard.dev/v1alpha1
kind: EvaluationJob
metadata: {name: again}
spec:
  target: {model: registry://tiny@candidate}
  baseline: {model: registry://before@stable}
  suites:
    - {name: words, task: perplexity, sources: [{name: words, path: words/validation.jsonl, format: jsonl}]}
  gates:
    - {metric: words/bits_per_byte, atMost: 8.0}
    - {metric: words/bits_per_byte, notWorseThanBaseline: {margin: 0.01}}
"""
ZERO = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    """A TrainingJob and an EvaluationJob of its result, in one file, run to the end; with what was printed.

    The EvaluationJob compares with a model of random weights.
    """
    place = make_workplace(tmp_path_factory.mktemp("finished"))
    registry = open_registry(open_yard(place.root / "yard"))
    before = write_tiny_model(tmp_path_factory.mktemp("before"))
    registry.register(
        "before", before, run_id="r", spec_digest=ZERO, training_digest=ZERO, dataset_digest=ZERO, code_version="0"
    )
    registry.set_alias("before", "stable", 1, by="test")
    both = place.root / "both.yaml"
    both.write_text((place.root / "job.yaml").read_text() + EVALUATION)
    result = place.command("run", "-f", "both.yaml", "--status-out", "status.json")
    assert result.returncode == 0, result.stdout + result.stderr
    return place, result.stdout


def weights(place: Workplace) -> set[str]:
    """Digests of all registered weights."""
    records = (place.root / "yard" / "models" / "tiny").glob("*/version.json")
    files = [file for path in records for file in read_record(path, VersionRecord).files]
    return {file.sha256 for file in files if file.path.endswith(".safetensors")}


def ray_starts() -> int:
    return Path(os.environ["MODELYARD_TESTS_RAY_STARTS"]).stat().st_size


def test_a_run_ends_with_every_stage_recorded_and_told(finished: tuple[Workplace, str]) -> None:
    place, printed = finished
    status = place.status()
    assert (status.phase, status.progress and status.progress.step) == ("Succeeded", 120)
    assert {c.type: c.status for c in status.conditions}["Complete"] == "True"
    assert [m.metric for m in status.metrics.evaluation if m.suite == "heldout"] == [
        "bits_per_byte",  # the gated one
        "perplexity",
        "token_accuracy",
    ]
    for stage in ("prepare", "train", "evaluate", "register"):
        assert read_stage(place.folder(), stage) is not None
        assert f"{stage:9} done in" in printed
    assert "step 1/120" in printed
    assert place.folder().report.exists()
    assert left_over(place.root) == []


def test_status_out_is_the_last_jobs_document(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    document = read_record(place.root / "status.json", StatusDocument)
    assert (document.kind, document.verdict) == ("EvaluationJob", "Passed")
    assert {c.type: c.status for c in document.conditions}["Passed"] == "True"


def test_a_model_is_compared_with_another_document_by_document(finished: tuple[Workplace, str]) -> None:
    place, printed = finished
    (path,) = place.folder("again").evaluate.glob("evaluation-*.json")
    record = read_record(path, EvaluationRecord)
    assert record.baseline is not None
    assert record.baseline.model == "before@1"
    assert record.baseline.suites[0].items == record.suites[0].items
    bound, compared = record.gates
    assert (bound.verdict, bound.difference) == ("Passed", None)
    assert compared.difference is not None
    assert compared.difference.high is not None
    assert compared.difference.high < 0, "the trained model is better than random weights"
    assert compared.verdict == "Passed"
    assert f"verdict   Passed: {compared.message}" in printed
    assert "against before@1" in compared.message
    report = place.folder("again").report.read_text()
    assert "Compared with before@1" in report
    assert "tiny@1" in report


def test_the_version_is_a_plain_hugging_face_folder(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    found = open_registry(place.yard).resolve("registry://tiny@candidate")
    model = AutoModelForCausalLM.from_pretrained(found.folder)
    tokenizer = AutoTokenizer.from_pretrained(found.folder)
    ids = model.generate(**tokenizer("the model", return_tensors="pt"), max_new_tokens=5, do_sample=False)
    assert tokenizer.decode(ids[0]).startswith("the model")
    assert found.record.parameters == sum(p.numel() for p in model.parameters())


def test_again_everything_stands_and_ray_is_not_started(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    starts = ray_starts()
    result = place.command("run", "-f", "both.yaml")
    assert result.returncode == 0
    assert result.stdout.count(" stands: ") == 5
    assert " done in" not in result.stdout
    assert ray_starts() == starts


def test_changed_text_is_named_and_the_run_goes_on_with_what_it_recorded(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    copy = Workplace(place.root.parent / "changed")
    shutil.copytree(place.root, copy.root)
    with (copy.root / "words" / "train.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    result = copy.command("run", "-f", "job.yaml")
    assert result.returncode == 0
    assert "1 source file(s) changed" in result.stdout
    assert "words/train.jsonl" in result.stdout
    assert "--fresh" in result.stdout


def test_a_gate_that_says_no_reruns_only_the_evaluation_and_moves_no_alias(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    copy = Workplace(place.root.parent / "gated")
    shutil.copytree(place.root, copy.root)
    result = copy.command("run", "-f", "job.yaml", "--set", "spec.evaluation.gates[0].atMost=0.1")
    assert result.returncode == 3, result.stdout + result.stderr
    assert "heldout/bits_per_byte" in result.stderr
    assert "train     stands" in result.stdout
    assert "evaluate  done in" in result.stdout
    last_words = result.stdout.split("register  done in")[1]
    assert "heldout/bits_per_byte" in last_words
    assert "model     registry://tiny@2" in last_words
    assert "report    " in last_words
    registry = open_registry(copy.yard)
    assert [version.verdict for version in registry.versions("tiny")] == ["Passed", "Failed"]
    assert registry.aliases("tiny") == {"candidate": 1}
    status = copy.status()
    assert status.phase == "Failed"
    assert status.last_failure is not None
    assert status.last_failure.failure_class == "GateFailed"

    again = copy.command("run", "-f", "job.yaml", "--set", "spec.evaluation.gates[0].atMost=0.1", "-o", "json")
    assert again.returncode == 3
    (document,) = json.loads(again.stdout)
    assert (document["phase"], document["model"]["version"]) == ("Failed", 2)


SECRETS = {
    "HF_TOKEN": "hf_QmFzZTY0c2VjcmV0dG9rZW4xMjM0NTY",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzPLANTED1",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEPLANTEDsessiontoken0002",
    "OPENAI_API_KEY": "sk-proj-PLANTED0003abcdefghijklmnop",
    "GITHUB_TOKEN": "ghp_PLANTED0004abcdefghijklmnopqrstuv",
    "WANDB_API_KEY": "planted0005abcdefabcdefabcdefabcdefabcd",
    "DB_PASSWORD": "planted-0006-hunter2-but-longer",
    "PGPASSWORD": "planted-0007-pg-password",
    "SLACK_BOT_TOKEN": "xoxb-0008-planted-slack-token",
    "MY_CREDENTIALS": "planted-0009-credentials",
    "SERVICE_SECRET": "planted-0010-service-secret",
    "CLIENT_SECRET": "planted-0011-client-secret",
    "STRIPE_SECRET_KEY": "sk_live_planted0012abcdefgh",
    "API_TOKEN": "planted-0013-api-token",
    "DATABASE_URL": "postgres://planted:pl4nted0014pass@db.example/yard",
    "TWILIO_AUTH_TOKEN": "planted-0015-auth-token",
    "MODELYARD_TEST_TOKEN": "planted-0016-own-prefix",
    "RAY_AUTH_TOKEN_PLANTED": "planted-0017-ray-prefix",
}
IN_MANIFEST = ["planted-0018-env-value", "pl4nted0019userinfo", "planted0020querytoken"]
WITH_SECRETS = f"""
  runtime:
    env:
      - {{name: WANDB_API_KEY, value: {IN_MANIFEST[0]}}}
      - {{name: STORE, value: "https://me:{IN_MANIFEST[1]}@store.example/bucket?token={IN_MANIFEST[2]}"}}
"""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str, list[str]]:
    """The same job, stopped by Ctrl-C, then by SIGTERM, then left to end; secrets planted. With what was printed."""
    place = make_workplace(tmp_path_factory.mktemp("interrupted"))
    printed = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process, thaw = place.start_frozen_in_save("run", "-f", "job.yaml", env=SECRETS)
        refused = place.command("run", "-f", "job.yaml")
        assert refused.returncode == 1
        assert f"pid {process.pid}" in refused.stderr
        control = place.folder().control
        before = control.read_bytes() if control.exists() else b""
        process.send_signal(number)
        wait_until(lambda control=control, before=before: control.exists() and control.read_bytes() != before, process)
        thaw()
        printed.append(process.communicate(timeout=120)[0])
        assert process.returncode == code, printed[-1]
    stopped = place.command("status", "tiny")
    result = place.command("run", "-f", "job.yaml", env=SECRETS)
    assert result.returncode == 0, result.stdout + result.stderr
    return place, stopped.stdout, [*printed, result.stdout]


def test_a_stopped_run_commits_its_last_step_and_says_so(interrupted: tuple[Workplace, str, list[str]]) -> None:
    _, stopped, printed = interrupted
    assert "TrainingJob tiny: Suspended" in stopped
    assert "Interrupted: stopped as asked" in stopped
    assert all("the workers commit at the end of this step" in text for text in printed[:2])


def test_no_step_is_trained_twice_after_a_stop(interrupted: tuple[Workplace, str, list[str]]) -> None:
    place, _, _ = interrupted
    steps = [row["step"] for row in place.rows() if "stepSeconds" in row]
    assert steps == list(range(1, 121))


def test_an_interrupted_run_ends_with_the_uninterrupted_ones_weights(
    finished: tuple[Workplace, str], interrupted: tuple[Workplace, str, list[str]]
) -> None:
    assert weights(interrupted[0]) == weights(finished[0])
    assert len(weights(finished[0])) == 1


def test_planted_secrets_are_nowhere_in_the_yard(interrupted: tuple[Workplace, str, list[str]]) -> None:
    place, _, _ = interrupted
    job = place.root / "with-secrets.yaml"
    job.write_text((place.root / "job.yaml").read_text() + WITH_SECRETS)
    refused = place.command("run", "-f", "with-secrets.yaml")
    assert refused.returncode == 2
    assert "secretKeyRef" in refused.stderr
    planted = [value for key, value in SECRETS.items() if key != "DATABASE_URL"] + IN_MANIFEST + ["pl4nted0014pass"]
    assert len(planted) >= 20
    assert not [secret for secret in IN_MANIFEST if secret in refused.stderr]
    found = [
        (secret, str(path.relative_to(place.root)))
        for path in (place.root / "yard").rglob("*")
        if path.is_file()
        for secret in planted
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("rm words/train.jsonl", 1, "words/train.jsonl"),
        ("empty words/train.jsonl", 1, "words/train.jsonl"),
        ("--set spec.model.config.hiden_size=64", 2, "hidden_size"),
        ("--set spec.optimization.step=64", 2, "steps"),
    ],
)
def test_bad_input_is_told_before_ray_is_started(tmp_path: Path, change: str, code: int, words: str) -> None:
    place = make_workplace(tmp_path / "bad")
    target = place.root / "words" / "train.jsonl"
    options: list[str] = []
    if change.startswith("rm"):
        target.unlink()
    elif change.startswith("empty"):
        target.write_text("")
    else:
        options = change.split()
    starts = ray_starts()
    result = place.command("run", "-f", "job.yaml", *options)
    assert result.returncode == code, result.stdout + result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert ray_starts() == starts


def test_output_as_json_is_the_status_documents(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    result = place.command("run", "-f", "both.yaml", "-o", "json")
    documents = json.loads(result.stdout)
    assert [(d["kind"], d["phase"]) for d in documents] == [
        ("TrainingJob", "Succeeded"),
        ("EvaluationJob", "Succeeded"),
    ]
    listed = json.loads(place.command("runs", "-o", "json").stdout)
    assert {d["runId"] for d in listed} == {d["runId"] for d in documents}


def test_the_dataset_of_the_run_is_found_again_by_its_digest(finished: tuple[Workplace, str]) -> None:
    place, _ = finished
    stage = read_stage(place.folder(), "prepare")
    assert stage is not None
    (dataset,) = stage.outputs
    text = (place.root / "yard" / dataset.path / "dataset.json").read_bytes()
    recorded = json.loads(text)
    assert recorded["digest"] == dataset.digest
    source = (place.root / "words" / "train.jsonl").read_bytes()
    digests = [file["sha256"] for one in recorded["sources"] for file in one["files"]]
    assert f"sha256:{hashlib.sha256(source).hexdigest()}" in digests
