"""Texts that are hardly manifests: broken, huge, hostile, of several documents; and where they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.errors import ManifestError
from modelyard.spec import load, parse, to_dict
from modelyard.spec.documents import LARGEST_BYTES
from support.manifests import DEPLOYMENT, EVALUATION, TRAINING, edited, faults_of, the


def _only(text: str) -> str:
    faults = faults_of(text)
    assert len(faults) == 1, faults
    return str(faults[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("holds no manifest", "modelyard init")),
        ("# only a comment\n---\n", ("holds no manifest",)),
        ("just words", ("job.yaml:1:1", 'is "just words", not a mapping')),
        ("- a\n- b\n", ("job.yaml:1:1", "is a list, not a mapping")),
        ("a: [1, 2\nb: 3\n", ("job.yaml:2:2", "is not YAML")),
        ("a:\n\t- b\n", ("job.yaml:2:1", "is not YAML", "tab")),
        ("a: 'x\n", ("is not YAML", "quoted scalar")),
        ("a: \x00\n", ("job.yaml:1:4", "is not YAML")),
        ("a: &x [*x]\n", ("job.yaml", "*x")),
        ("[" * 3000, ("is nested deeper than 64 levels",)),
        ("{" * 800, ("nested",)),
        ("a: b: c\n", ("is not YAML",)),
        ("%YAML 9.9 x\n---\na: 1\n", ("is not YAML",)),
    ],
)
def test_a_broken_text_is_one_fault(text: str, words: tuple[str, ...]) -> None:
    told = "\n".join(map(str, faults_of(text)))
    assert told
    for word in words:
        assert word in told


def test_aliases_do_not_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 200000 values" in _only("\n".join(lines))


def test_anchors_are_read_and_copies_are_apart() -> None:
    text = TRAINING.replace("path: corpus/*.jsonl", "path: &p corpus/*.jsonl").replace("path: more/", "path: *p")
    job = the(text)
    assert job.spec.data.train[1].path == "corpus/*.jsonl"
    text = TRAINING.replace("{name: second, path: more/}", "{name: second, path: more/, columns: &c {text: t}}")
    text = text.replace("fraction: 0.1", "sources: [{name: v, path: v, columns: *c}]")
    (job,) = parse(text, origin="x", overrides=["spec.data.train[1].columns.text=other"])
    assert job.spec.data.validation.sources[0].columns.text == "t"


def test_faults_before_a_broken_document_are_told_too() -> None:
    first, line, _ = edited(TRAINING, "zeroStage: 1", "zeroStage: ¦4")
    faults = faults_of(first + "---\na: [1\nb\n")
    assert [fault.path for fault in faults] == ["spec.sharding.zeroStage", "(document)"]
    assert faults[0].line == line


def test_faults_of_all_documents_come_in_file_order() -> None:
    text = "---\n".join(
        (
            edited(DEPLOYMENT, "replicas: 1", "replicas: -1").text,
            edited(EVALUATION, "atMost: 40", "atMost: 0").text,
            edited(TRAINING, "zeroStage: 1", "zeroStage: 5").text.replace("steps: 100", "steps: -1"),
        )
    )
    faults = faults_of(text)
    assert [fault.path for fault in faults] == [
        "spec.replicas", "spec.gates[0].atMost", "spec.optimization.steps", "spec.sharding.zeroStage",
    ]  # fmt: skip
    assert [fault.line for fault in faults] == sorted(fault.line for fault in faults)


def test_structure_and_rules_are_told_together() -> None:
    text = TRAINING
    for old, new in (
        ("zeroStage: 1", "zeroStge: 1"),  # misspelt
        ("steps: 100", "steps: 012"),  # ambiguous; the schedule's rule cannot be checked, the batch's can
        ("globalBatchTokens: 512", "globalBatchTokens: 500"),
        ("hidden_size: 64", "hiden_size: 64"),
        ("metric: heldout/bits_per_byte", "metric: heldout/bleu"),
        ("[candidate]", '["7"]'),
        ("mode: min", "mode: best"),
    ):
        text = edited(text, old, new).text
    assert {fault.path for fault in faults_of(text)} == {
        "spec.sharding.zeroStge", "spec.optimization.steps", "spec.optimization.globalBatchTokens",
        "spec.model.config.hiden_size", "spec.evaluation.gates[0].metric", "spec.register.aliases[0]",
        "spec.checkpoint.keep.best.mode",
    }  # fmt: skip


def test_json_is_read_with_its_escapes() -> None:
    document = to_dict(the(TRAINING), defaults=True)
    document["metadata"]["annotations"] = {"note": "smile \U0001f600 é"}
    texts = [
        json.dumps(document, indent=indent, ensure_ascii=plain) for indent in (None, 4, "\t") for plain in (True, False)
    ]
    for text in [*texts, texts[0].replace("/", "\\/"), json.dumps(document, separators=(",", ":"))]:
        job = the(text)
        assert job.metadata.annotations["note"] == "smile \U0001f600 é"


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TRAINING.replace("\n", "\r\n").encode())
    assert [job.metadata.name for job in load([path])] == ["small"]


def test_files_folders_and_stdin_come_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "b.yml").write_text(EVALUATION)
    (folder / "a.yaml").write_text(TRAINING + "---\n" + DEPLOYMENT)
    (folder / "notes.txt").write_text("not a manifest")
    (folder / "c.json").write_text(json.dumps(to_dict(the(DEPLOYMENT), defaults=False)))
    kinds = [manifest.kind for manifest in load([folder, "-"], stdin=EVALUATION.encode)]
    assert kinds == ["TrainingJob", "ModelDeployment", "EvaluationJob", "ModelDeployment", "EvaluationJob"]


def test_faults_of_several_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(edited(TRAINING, "zeroStage: 1", "zeroStage: 4").text)
    (tmp_path / "b.yaml").write_bytes(b"kind: \xff\xfe\x00")
    (tmp_path / "c.yaml").write_text(" " * (LARGEST_BYTES + 1))
    with pytest.raises(ManifestError) as caught:
        load([tmp_path, tmp_path / "none.yaml", "-"], stdin=lambda: b"")
    told = [(Path(fault.origin).name, fault.message) for fault in caught.value.faults]
    assert len(told) == 4
    assert told[0][0] == "a.yaml"
    assert dict(told)["b.yaml"] == "is not UTF-8 text"
    assert "larger than" in dict(told)["c.yaml"]
    assert "cannot be read" in dict(told)["none.yaml"]


def test_a_folder_without_manifests_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no"):
        load([tmp_path])


def test_a_nested_value_is_not_printed_whole() -> None:
    text = edited(TRAINING, "path: corpus/*.jsonl", "path: ¦" + "a" * 5000).text
    assert len(str(faults_of(text)[0])) < 400
