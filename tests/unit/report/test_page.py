from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from modelyard.records import FailureDigest
from modelyard.report import render
from support.sample_run import RUN_ID, Sample, digest, non_finite, sample_yard

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """The page as a browser would read it: tags that close, addresses that it would load, text that it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [str(found[name]) for name in ("href", "src") if name in found]
        self.ids |= {str(found["id"])} if "id" in found else set()
        assert not any(name.startswith("on") or name == "style" for name in found), (tag, found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def rendered(sample: Sample) -> str:
    return render(sample.write(), sample.yard).read_text()


def test_a_finished_run_tells_everything(tmp_path: Path) -> None:
    html = rendered(Sample(sample_yard(tmp_path)))
    reader = read(html)
    told = re.sub(r"\s+", " ", " ".join(reader.text))
    expected = (
        "quickstart", RUN_ID, "Succeeded", "gates: Passed", "2.268", "2.239 to 2.301", "unigram 2.830 (-19.9%)",
        "xz 2.071", "at most 2.5", "12 empty, 1 invalid utf-8", "✓ yes", digest("dataset"), digest("version"),
        "corpus/train/stdlib.jsonl", "torch", "2.13.0", "forward and backward", "globalBatchTokens: 2048",
        "With every default written out", "A model of 3.34 M parameters was trained for 480 steps",
        "19.9% below a unigram model", "first step: group 12 s, first step 0.4 s.", "train 4 min 13 s, evaluate 19 s",
    )  # fmt: skip
    for words in expected:
        assert words in told
    anchors = [link for link in reader.links if link.startswith("#")]
    assert {link.removeprefix("#") for link in anchors} <= reader.ids
    assert len(anchors) == 7


@pytest.mark.parametrize("shared", [0, 7])
def test_validation_texts_that_were_trained_on_are_counted(tmp_path: Path, shared: int) -> None:
    told = " ".join(read(rendered(Sample(sample_yard(tmp_path), shared_documents=shared))).text)
    assert ("whose text stands in train too: 7." in told) is bool(shared)


def test_the_file_loads_nothing(tmp_path: Path) -> None:
    html = rendered(Sample(sample_yard(tmp_path)))
    assert all(link.startswith("#") for link in read(html).links)
    assert not re.findall(r"https?://", html)
    assert "default-src 'none'" in html


def test_the_policy_admits_exactly_the_script_and_style_of_the_page(tmp_path: Path) -> None:
    html = rendered(Sample(sample_yard(tmp_path)))
    for tag in ("script", "style"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        hashed = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in html


def test_all_data_is_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\"'</pre></script><script>alert(2)</script>"
    failure = FailureDigest(failure_class="Internal", message=evil, evidence=(evil,), hint=evil)
    sample = Sample(sample_yard(tmp_path), phase="Failed", failure=failure, source_name=evil, manifest=f"# {evil}\n")
    html = rendered(sample)
    assert "<img" not in html
    assert html.count("<script>") == 1
    # Shown as the words they are: message, evidence, hint, two sources in data and lineage, manifest, resolved.
    assert " ".join(read(html).text).count(evil) == 9


def test_a_failed_run_shows_its_digest_first(tmp_path: Path) -> None:
    sample = Sample(
        sample_yard(tmp_path), phase="Failed", steps=132, failure=non_finite(), stages=("prepare",), restart_at=None
    )
    told = " ".join(read(rendered(sample)).text)
    assert told.index("the loss of step 133 is not finite") < told.index("Where the time went")
    assert "lower optimization.optimizer.learningRate" in told
    assert "132 of 480 steps" in told


@pytest.mark.parametrize(
    ("phase", "steps", "stages"), [("Preparing", 0, ()), ("Training", 1, ("prepare",)), ("Training", 57, ("prepare",))]
)
def test_a_run_that_goes_on_shows_what_there_is(
    tmp_path: Path, phase: str, steps: int, stages: tuple[str, ...]
) -> None:
    sample = Sample(sample_yard(tmp_path), phase=phase, steps=steps, stages=stages, restart_at=None)
    reader = read(rendered(sample))
    assert phase in " ".join(reader.text)
    assert ("training" in reader.ids) == (steps > 0)
    assert "evaluation" not in reader.ids


def test_an_evaluation_names_the_version_that_it_looked_at_and_registered_none(tmp_path: Path) -> None:
    sample = Sample(sample_yard(tmp_path), stages=("evaluate", "register"), steps=0)
    run = sample.write()
    status = sample.status().model_copy(update={"kind": "EvaluationJob"})
    html = render(run, sample.yard, status=status).read_text()
    for shown in ("evaluated model", "quickstart@3", digest("export")):
        assert shown in html
    for of_the_training in ("Registered", digest("version"), digest("spec")):
        assert of_the_training not in html


def test_a_run_of_which_only_the_folder_stands(tmp_path: Path) -> None:
    yard = sample_yard(tmp_path)
    run = yard.run(RUN_ID)
    run.path.mkdir(parents=True)
    assert "no status" in " ".join(read(render(run, yard).read_text()).text)


def test_a_damaged_record_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    sample = Sample(sample_yard(tmp_path))
    run = sample.write()
    run.stages("train").write_text("{")
    told = " ".join(read(render(run, sample.yard).read_text()).text)
    assert "Some records could not be read" in told
    assert "train.json" in told
    assert "2.268" in told


def test_a_restart_is_drawn_and_its_later_rows_win(tmp_path: Path) -> None:
    html = rendered(Sample(sample_yard(tmp_path), restart_at=210))
    assert html.count(">attempt 3</text>") == 1
    assert html.count("<title>attempt 3</title>") == 5


def test_a_second_rendering_replaces_the_first(tmp_path: Path) -> None:
    sample = Sample(sample_yard(tmp_path))
    first = render(sample.write(), sample.yard).read_text()
    second = render(sample.run, sample.yard).read_text()
    cut = re.compile(r"Made by Modelyard \S+ on [^<]+")
    assert cut.sub("", first) == cut.sub("", second)
