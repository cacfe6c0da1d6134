"""How a run looks while it runs: one live line on a terminal, plain lines elsewhere. It only listens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from modelyard.workflow.lines import PlainLines, line_of, progress_line
from modelyard.workflow.news import Listener, News, Progressed, RunEnded, StageBegan


@contextmanager
def display(*, live: bool, err: bool = False) -> Iterator[Listener]:
    """A listener for `workflow.run`; lines go to stderr when stdout carries JSON (`err`)."""
    if live:
        with _live_line() as listener:
            yield listener
    else:
        yield PlainLines(lambda text: _line(text, err))


def _line(text: str, err: bool) -> None:
    typer.echo(text, err=err)
    (sys.stderr if err else sys.stdout).flush()


@contextmanager
def _live_line() -> Iterator[Listener]:
    from rich.console import Console
    from rich.status import Status

    console = Console()
    with Status("starting …", console=console, spinner="dots") as status:

        def listen(news: News) -> None:
            match news:
                case Progressed():
                    status.update(progress_line(news))
                case StageBegan(stage):
                    status.update(f"{stage} …")
                case RunEnded():
                    status.update("")
                case _:
                    console.print(line_of(news), highlight=False, markup=False)

        yield listen
