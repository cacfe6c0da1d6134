"""News written into the run's events.jsonl and driver.log: what happened, and when, for who comes later."""

from __future__ import annotations

import logging

from modelyard.telemetry import Events
from modelyard.workflow.lines import line_of
from modelyard.workflow.news import Listener, News, Note, Progressed, RunEnded, StageBegan, StageDone, StageSkipped

log = logging.getLogger(__name__)


def recorded(events: Events, listener: Listener) -> Listener:
    """A listener that writes every piece of news but progress down, then passes all of it on.

    A watcher that is gone (a closed pipe or terminal) is told no more; the run goes on.
    """
    watched = True

    def listen(news: News) -> None:
        _write(events, news)
        if not isinstance(news, Progressed | RunEnded):
            log.info("%s", line_of(news))
        nonlocal watched
        try:
            if watched:
                listener(news)
        except OSError as error:
            watched = False
            log.warning("nobody watches any more: %s", error)

    return listen


def _write(events: Events, news: News) -> None:
    match news:
        case StageBegan(stage):
            events.add("StageBegan", stage=stage)
        case StageSkipped(stage, summary):
            events.add("StageSkipped", stage=stage, summary=summary)
        case StageDone(stage, seconds, summary):
            events.add("StageDone", stage=stage, seconds=round(seconds, 3), summary=summary)
        case Note(text, warning):
            events.add("Warning" if warning else "Note", message=text)
        case RunEnded(status):
            failure = status.last_failure.failure_class if status.last_failure else None
            events.add("RunEnded", phase=status.phase, failure=failure)
        case Progressed():
            pass
