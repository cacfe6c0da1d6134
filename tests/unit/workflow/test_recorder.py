"""News in the run's own books."""

from __future__ import annotations

from pathlib import Path

from modelyard.telemetry import Events, read_rows
from modelyard.workflow.news import News, Note, StageBegan
from modelyard.workflow.recorder import recorded


def test_a_watcher_that_is_gone_does_not_end_the_run(tmp_path: Path) -> None:
    heard: list[News] = []

    def watcher(news: News) -> None:
        heard.append(news)
        raise BrokenPipeError

    listen = recorded(Events(tmp_path / "events.jsonl", attempt=1), watcher)
    listen(StageBegan("train"))
    listen(Note("a worker was lost", warning=True))
    assert heard == [StageBegan("train")]
    assert [event["event"] for event in read_rows(tmp_path / "events.jsonl")] == ["StageBegan", "Warning"]
