"""News as lines."""

from __future__ import annotations

import pytest

from modelyard.records import Progress
from modelyard.workflow.lines import PlainLines, line_of, span
from modelyard.workflow.news import News, Note, Progressed, StageDone, StageSkipped

TRAINING = Progress(stage="train", step=40, total_steps=480, tokens=81920, tokens_per_second=4512.3, eta_seconds=195)


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (StageSkipped("prepare", "5,000 documents"), "prepare   stands: 5,000 documents"),
        (StageDone("train", 218.4, "480 steps"), "train     done in 3m38s: 480 steps"),
        (Note("the group starts again", warning=True), "warning   the group starts again"),
        (Progressed(TRAINING, loss=3.4567), "train     step 40/480  loss 3.457  4,512 tokens/s  3m15s left"),
        (
            Progressed(Progress(stage="prepare"), "tokenising", 3, 9),
            "prepare   tokenising 3/9",
        ),
    ],
)
def test_a_line_for_each_piece_of_news(news: News, line: str) -> None:
    assert line_of(news) == line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (8.31, "8.3s"), (75, "75s"), (200, "3m20s"), (7500, "2h05m")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_progress_gets_a_line_every_ten_seconds() -> None:
    now, lines = [0.0], []
    listen = PlainLines(lines.append, clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        listen(Progressed(TRAINING))
    assert len(lines) == 3
