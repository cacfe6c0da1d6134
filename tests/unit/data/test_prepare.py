"""From files to a dataset in the yard: counts that add up, the same dataset whatever happens on the way."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.data import IGNORED, Loader, open_split, prepare, recognise
from modelyard.data.building import BATCH_DOCUMENTS
from modelyard.data.prepare import _build_folder
from modelyard.errors import BadDataError, IntegrityError, InvalidInputError, StoppedError
from modelyard.records import DatasetRecord
from modelyard.text import open_tokenizer
from modelyard.yard import Yard, digest_folder, open_yard, verify_folder
from support.datasets import SENTENCES, small_tokenizer, training_job, write_jsonl

TEXTS = [f"{sentence} {number}" for number in range(12) for sentence in SENTENCES]
SOURCE = {"name": "s", "path": "train.jsonl"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    write_jsonl(root / "train.jsonl", TEXTS)
    write_jsonl(root / "validation.jsonl", ["held out", "and this", TEXTS[3]])
    return root


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return open_yard(tmp_path / "yard")


VALIDATION = {"sources": [{"name": "v", "path": "validation.jsonl"}]}


def texts(yard: Yard, record: DatasetRecord, split: str) -> list[str]:
    folder = yard.dataset_folder(record.digest)
    tokenizer = open_tokenizer(folder / "tokenizer")
    opened = open_split(folder, split)
    return [tokenizer.decode(opened.tokens(number).tolist()) for number in range(opened.documents)]


def test_all_documents_are_in_the_dataset_in_order(root: Path, yard: Yard) -> None:
    record = prepare(training_job([SOURCE], validation=VALIDATION), root=root, yard=yard)
    assert texts(yard, record, "train") == TEXTS
    assert texts(yard, record, "validation") == ["held out", "and this", TEXTS[3]]
    train, validation = record.sources
    assert (train.records, train.documents, train.excluded) == (len(TEXTS), len(TEXTS), {})
    assert train.text_bytes == sum(len(text.encode()) for text in TEXTS)
    assert (validation.name, validation.split, validation.documents) == ("v", "validation", 3)
    assert record.shared_documents == 1
    folder = yard.dataset_folder(record.digest)
    assert open_tokenizer(folder / "tokenizer").digest == record.tokenizer_digest
    verify_folder(folder, record.files, exact=True, leave_out=["dataset.json"])
    assert train.tokens == open_split(folder, "train").num_tokens


def test_the_tokenizer_learns_from_training_documents_alone(root: Path, yard: Yard) -> None:
    alone = prepare(training_job([SOURCE]), root=root, yard=yard)
    both = prepare(training_job([SOURCE], validation=VALIDATION), root=root, yard=yard)
    assert alone.tokenizer_digest == both.tokenizer_digest
    assert alone.digest != both.digest


def test_a_dataset_that_stands_is_found_again(root: Path, yard: Yard) -> None:
    job = training_job([SOURCE])
    first = prepare(job, root=root, yard=yard)
    os.utime(root / "train.jsonl", ns=(1, 1))  # touched, not changed
    told: list[str] = []
    assert prepare(job, root=root, yard=yard, progress=lambda what, done, total: told.append(what)) == first
    assert set(told) == {"reading"}
    assert prepare(job, root=root, yard=yard, verify=True) == first


def test_a_tokenizer_of_ones_own_is_taken_as_it_is(root: Path, yard: Yard, tmp_path: Path) -> None:
    tokenizer = small_tokenizer(tmp_path / "tokenizer")
    record = prepare(training_job([SOURCE]), root=root, yard=yard, tokenizer_folder=tmp_path / "tokenizer")
    assert record.tokenizer_digest == tokenizer.digest
    folder = yard.dataset_folder(record.digest)
    assert open_split(folder, "train").tokens(0).tolist() == tokenizer.encode(TEXTS[0])


def test_without_any_tokenizer_it_says_so(root: Path, yard: Yard) -> None:
    job = training_job([SOURCE])
    model = job.spec.model.model_copy(update={"tokenizer": None})
    bare = job.model_copy(update={"spec": job.spec.model_copy(update={"model": model})})
    with pytest.raises(InvalidInputError, match="tokenizer"):
        prepare(bare, root=root, yard=yard)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"sequenceLength": 64}, True),
        ({"packing": False}, True),
        ({"maxBadFraction": 0.5}, True),
        ({"train": [{**SOURCE, "passes": 2.0}]}, True),
        ({"train": [{**SOURCE, "columns": {"text": "text"}}]}, True),
        ({"train": [{**SOURCE, "name": "other"}]}, False),
        ({"train": [SOURCE, {"name": "t", "path": "validation.jsonl"}]}, False),
        ({"train": [{**SOURCE, "path": "*.jsonl"}]}, False),
        ({"maxRecordBytes": 1000}, False),
        ({"validation": {"fraction": 0.2}}, False),
    ],
    ids=str,
)
def test_the_digest_is_of_what_is_prepared(root: Path, yard: Yard, change: dict[str, Any], same: bool) -> None:
    first = prepare(training_job([SOURCE]), root=root, yard=yard)
    changed = prepare(training_job(**{"train": [SOURCE], **change}), root=root, yard=yard)
    assert (changed.digest == first.digest) is same


@given(
    st.lists(st.sampled_from(["good", "broken", "", '{"text": ""}', '{"text": 1}', '{"text": "\\ud800"}']), max_size=40)
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_add_up(tmp_path: Path, kinds: list[str]) -> None:
    lines = [json.dumps({"text": f"document {n}"}) if kind == "good" else kind for n, kind in enumerate(kinds)]
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(['{"text": "one is always there"}', *lines]), encoding="utf-8")
    job = training_job([{"name": "s", "path": path.name}], maxBadFraction=1.0)
    yard = open_yard(tmp_path / "yard")
    record = prepare(job, root=tmp_path, yard=yard)
    (source,) = record.sources
    assert source.records == 1 + sum(kind != "" for kind in kinds)
    assert source.records == source.documents + sum(source.excluded.values())
    assert source.documents == 1 + kinds.count("good")
    rows = [json.loads(line) for line in (yard.dataset_folder(record.digest) / "excluded.jsonl").open()]
    assert Counter(row["reason"] for row in rows) == source.excluded
    assert all(lines[row["line"] - 2] != "good" and row["file"] == "mixed.jsonl" for row in rows)


def test_a_fraction_is_taken_by_the_texts_digest(root: Path, yard: Yard) -> None:
    doubled = [f"text {number % 400}" for number in range(800)]
    write_jsonl(root / "many.jsonl", [*doubled, " "])
    job = training_job([{"name": "m", "path": "many.jsonl"}, SOURCE], validation={"fraction": 0.25})
    record = prepare(job, root=root, yard=yard)
    train, validation = (set(texts(yard, record, split)) for split in ("train", "validation"))
    assert not train & validation
    assert train | validation == {*doubled, *TEXTS}
    assert 0.15 < len(validation) / len(train | validation) < 0.35
    assert record.shared_documents == 0
    assert [(source.name, source.split) for source in record.sources] == [
        ("m", "train"), ("m", "validation"), ("s", "train"), ("s", "validation"),
    ]  # fmt: skip
    for source in record.sources:
        assert source.records == source.documents + sum(source.excluded.values())
    assert sum(source.records for source in record.sources) == 801 + len(TEXTS)
    assert record.sources[0].excluded == {"empty_text": 1}
    assert not recognise(record, job, root)


def test_too_many_malformed_records_are_fatal_and_the_first_are_named(root: Path, yard: Yard) -> None:
    with (root / "train.jsonl").open("a") as file:
        file.write('{"text": "cut\n{"texts": 1}\n' + '{"text": ""}\n' * 50)
    job = training_job([SOURCE])
    with pytest.raises(BadDataError) as caught:
        prepare(job, root=root, yard=yard)
    message = str(caught.value)
    assert f"2 of {len(TEXTS) + 52} records are malformed (1.79%; data.maxBadFraction allows 0.10%)" in message
    assert f"train.jsonl:{len(TEXTS) + 1}: broken_json" in message
    assert f"train.jsonl:{len(TEXTS) + 2}: missing_text" in message
    assert "empty_text" not in message
    tolerant = prepare(training_job([SOURCE], maxBadFraction=0.05), root=root, yard=yard)
    assert tolerant.sources[0].excluded == {"broken_json": 1, "empty_text": 50, "missing_text": 1}


@pytest.mark.parametrize("validation", [{}, {"fraction": 0.6}], ids=["alone", "fraction"])
def test_the_share_of_malformed_records_is_of_all_that_were_read(tmp_path: Path, yard: Yard, validation: Any) -> None:
    many = write_jsonl(tmp_path / "many.jsonl", [f"text {number}" for number in range(2 * BATCH_DOCUMENTS)])
    with many.open("a") as file:
        file.write("cut\n" * 10)
    share = 10 / (2 * BATCH_DOCUMENTS + 10)
    source = {"name": "s", "path": many.name}
    prepare(training_job([source], validation=validation, maxBadFraction=share), root=tmp_path, yard=yard)
    strict = training_job([source], validation=validation, maxBadFraction=share * 0.99)
    with pytest.raises(BadDataError, match=f"10 of {2 * BATCH_DOCUMENTS + 10} records are malformed"):
        prepare(strict, root=tmp_path, yard=open_yard(tmp_path / "other"))


def test_a_source_given_a_tokenizer_is_checked_as_well(root: Path, yard: Yard, tmp_path: Path) -> None:
    small_tokenizer(tmp_path / "tokenizer")
    (root / "train.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(BadDataError, match=r"train\.jsonl:1: invalid_utf8"):
        prepare(training_job([SOURCE]), root=root, yard=yard, tokenizer_folder=tmp_path / "tokenizer")


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("missing.jsonl", None, "missing.jsonl does not exist"),
        ("empty.jsonl", b"", "empty.jsonl:1: empty_file"),
        ("blank.jsonl", b'{"text": " "}\n', "no document is left for train: 1 empty_text|no text to train"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08", "cut.jsonl.gz is truncated"),
    ],
)
def test_data_that_cannot_be_used_is_said_in_words(
    root: Path, yard: Yard, path: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (root / path).write_bytes(content)
    with pytest.raises(BadDataError, match=words):
        prepare(training_job([{"name": "s", "path": path}]), root=root, yard=yard)
    assert not list((yard.root / "data").rglob("dataset.json"))
    assert not list((yard.root / "data").glob(".*"))


@pytest.mark.parametrize("while_doing", ["reading", "training the tokenizer", "tokenising"])
def test_a_file_that_changes_while_it_is_read_is_an_error(root: Path, yard: Yard, while_doing: str) -> None:
    with (root / "train.jsonl").open("ab") as file:
        file.write(b"\n" * (2 << 20))  # so that it is read in several pieces

    def change(what: str, done: int, total: int) -> None:
        if what == while_doing and done < total:
            with (root / "train.jsonl").open("ab") as file:
                file.write(b'{"text": "CHANGED"}\n')

    with pytest.raises(BadDataError, match=r"train\.jsonl changed while it was being read"):
        prepare(training_job([SOURCE]), root=root, yard=yard, progress=change)


def test_a_damaged_dataset_is_named_not_used(root: Path, yard: Yard) -> None:
    job = training_job([SOURCE])
    shard = yard.dataset_folder(prepare(job, root=root, yard=yard).digest) / "train" / "shard-00000.bin"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"shard-00000\.bin"):
        prepare(job, root=root, yard=yard, verify=True)
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"shard-00000\.bin"):
        prepare(job, root=root, yard=yard)


def test_changed_sources_are_recognised(root: Path, yard: Yard) -> None:
    job = training_job([{"name": "s", "path": "*.jsonl"}], validation=VALIDATION)
    record = prepare(job, root=root, yard=yard)
    assert recognise(record, job, root) == ()
    os.utime(root / "train.jsonl", ns=(1, 1))
    assert recognise(record, job, root) == ()
    status = (root / "train.jsonl").stat()
    (root / "train.jsonl").write_bytes((root / "train.jsonl").read_bytes().replace(b"yard", b"YARD"))
    assert recognise(record, job, root) == ("train.jsonl",)
    os.utime(root / "train.jsonl", ns=(status.st_atime_ns, record.sources[0].files[0].mtime_ns))
    assert recognise(record, job, root) == ()  # what size and mtime cannot tell …
    assert recognise(record, job, root, verify=True) == ("train.jsonl",)  # … the digest tells
    write_jsonl(root / "new.jsonl", ["new"])
    (root / "validation.jsonl").unlink()
    assert recognise(record, job, root) == ("new.jsonl", "validation.jsonl")


PREPARE = """
import sys
from pathlib import Path
from support.datasets import training_job
from modelyard.data import prepare
from modelyard.errors import ModelyardError
from modelyard.yard import open_yard
import resource
if len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    job = training_job([{"name": "s", "path": "train.jsonl"}], validation={"fraction": 0.2})
    print(prepare(job, root=Path(sys.argv[1]), yard=open_yard(Path(sys.argv[2]))).digest)
except ModelyardError as error:
    print(type(error).__name__, error)
"""


def start(root: Path, yard: Path, *arguments: str, fault: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"MODELYARD_FAULT_POINT": fault} if fault else {}
    command = [sys.executable, "-c", PREPARE, str(root), str(yard), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def content(folder: Path) -> str:
    return digest_folder(folder, leave_out=["dataset.json"])[0]


@pytest.mark.parametrize(
    "fault",
    [
        "data.prepare.built:1",
        "data.prepare.file:1",
        "data.prepare.file:7",
        "data.prepare.published:1",
        "yard.publish.written:1",
    ],
)
def test_killed_anywhere_the_next_call_gives_the_same_dataset(
    root: Path, yard: Yard, tmp_path: Path, fault: str
) -> None:
    calm = open_yard(tmp_path / "calm")
    job = training_job([SOURCE], validation={"fraction": 0.2})
    expected = prepare(job, root=root, yard=calm)
    killed = start(root, yard.root, fault=fault)
    assert killed.wait() == -9
    folder = yard.dataset_folder(expected.digest)
    assert not (folder / "dataset.json").exists()
    assert prepare(job, root=root, yard=yard).files == expected.files
    assert content(folder) == content(calm.dataset_folder(expected.digest))
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}  # nothing is left lying about


def test_two_at_once_give_one_dataset(root: Path, yard: Yard) -> None:
    both = [start(root, yard.root) for _ in range(2)]
    first, second = (each.communicate()[0] for each in both)
    assert first == second
    record = prepare(training_job([SOURCE], validation={"fraction": 0.2}), root=root, yard=yard, verify=True)
    assert first.strip() == record.digest


def test_a_folder_is_not_swept_while_another_begins_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "abcd"
    lock, begun = fcntl.flock, []

    def race(descriptor: int, how: int) -> None:
        if not begun:
            begun.append(descriptor)
            with _build_folder(folder):
                pass
        lock(descriptor, how)

    monkeypatch.setattr("fcntl.flock", race)
    with _build_folder(folder) as mine:
        assert mine.is_dir()
    assert begun
    assert not list(folder.parent.iterdir())


def test_a_disk_that_refuses_is_said_in_words_and_leaves_nothing(root: Path, yard: Yard) -> None:
    refused = start(root, yard.root, "4096").communicate()[0]
    assert refused.startswith("StorageError cannot write")
    assert "what was written before is intact" in refused
    assert not list((yard.root / "data").iterdir())


@pytest.mark.parametrize("while_doing", ["reading", "training the tokenizer", "tokenising"])
@pytest.mark.parametrize("error", [StoppedError("stop"), KeyboardInterrupt()], ids=["asked", "Ctrl-C"])
def test_it_can_be_stopped_at_any_time(root: Path, yard: Yard, while_doing: str, error: BaseException) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == while_doing:
            raise error

    with pytest.raises(type(error)):
        prepare(training_job([SOURCE]), root=root, yard=yard, progress=stop)
    assert not list((yard.root / "data").glob("*"))


@pytest.mark.parametrize("packing", [True, False])
def test_what_the_loader_hands_on_is_what_was_in_the_files(root: Path, yard: Yard, packing: bool) -> None:
    record = prepare(training_job([SOURCE]), root=root, yard=yard)
    folder = yard.dataset_folder(record.digest)
    tokenizer, split = open_tokenizer(folder / "tokenizer"), open_split(folder, "train")
    made = Loader(split, sequence_length=200, seed=3, rows_per_step=1, packing=packing)
    labels = [made.rows(step).labels.ravel() for step in range(made.num_rows(0))]
    ids = [int(label) for row in labels for label in row if label != IGNORED]
    end = tokenizer.token_bytes(tokenizer.eos_id).decode()
    *handed_on, rest = tokenizer.decode(ids, specials=True).split(end)
    assert (sorted(handed_on), rest) == (sorted(TEXTS), "")
