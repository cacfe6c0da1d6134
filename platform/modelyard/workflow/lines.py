"""News as plain lines: what a log, a notebook or a pipe shows."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.workflow.news import News, Note, Progressed, RunEnded, StageBegan, StageDone, StageSkipped

_SECONDS_BETWEEN = 10.0  # progress lines where no line can change in place


class PlainLines:
    """A listener that writes a line for each piece of news, for progress one in ten seconds."""

    def __init__(self, write: Callable[[str], None] = print, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._last: float | None = None

    def __call__(self, news: News) -> None:
        """Write the news down, unless it is progress that came too soon."""
        if isinstance(news, Progressed):
            now = self._clock()
            if self._last is not None and now - self._last < _SECONDS_BETWEEN:
                return
            self._last = now
        text = line_of(news)
        if text:
            self._write(text)


def line_of(news: News) -> str:
    """The line for one piece of news; empty for what needs none."""
    match news:
        case StageBegan(stage):
            return f"{stage:9} started"
        case StageSkipped(stage, summary):
            return f"{stage:9} stands: {summary}"
        case StageDone(stage, seconds, summary):
            return f"{stage:9} done in {span(seconds)}: {summary}"
        case Note(text, warning):
            return f"{'warning' if warning else 'note':9} {text}"
        case Progressed():
            return progress_line(news)
        case RunEnded():
            return ""


def progress_line(news: Progressed) -> str:
    """Stage, step, loss, tokens per second, time left."""
    progress = news.progress
    if progress.stage == "train":
        words = [f"train     step {_of(progress.step, progress.total_steps)}"]
    else:
        words = [f"{progress.stage:9} {news.doing} {_of(news.done, news.total)}"]
    if news.loss is not None:
        words.append(f"loss {news.loss:.3f}")
    if progress.tokens_per_second is not None:
        words.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.eta_seconds is not None:
        words.append(f"{span(progress.eta_seconds)} left")
    return "  ".join(words)


def _of(done: int, total: int | None) -> str:
    return f"{done:,}/{total:,}" if total else f"{done:,}"


def span(seconds: float) -> str:
    """8.3s, 75s, 3m20s, 2h05m."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 120:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 120 else f"{minutes // 60}h{minutes % 60:02}m"
