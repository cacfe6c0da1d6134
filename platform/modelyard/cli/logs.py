"""`modelyard logs RUN`: what a run's processes wrote; `-f` follows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from modelyard.cli.output import YardOption

if TYPE_CHECKING:
    from modelyard.yard import RunFolder

_POLL_SECONDS = 0.5
_BLOCK_BYTES = 64 * 1024


def logs(
    run: Annotated[str, typer.Argument(help="A run id, or a job's name (its latest run).")],
    rank: Annotated[int | None, typer.Option("--rank", help="This worker's log; left out: the driver's.")] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on as the log grows, until the driver ends.")
    ] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Only the last lines; 0: all.")] = 0,
    yard: YardOption = None,
) -> None:
    """Print a run's driver log, or a worker's."""
    from modelyard.cli.places import the_yard
    from modelyard.errors import NotFoundError

    folder = the_yard(yard).find_run(run)
    path = folder.driver_log if rank is None else folder.logs / f"rank-{rank}.log"
    if not path.exists() and not (follow and _at_work(folder)):
        found = sorted(p.stem.removeprefix("rank-") for p in folder.logs.glob("rank-*.log"))
        raise NotFoundError(
            f"{path} does not exist", hint=f"ranks with a log: {', '.join(found)}" if found else "no worker has started"
        )
    for line in _lines(folder, path, follow, tail):
        typer.echo(line, nl=False)


def _lines(folder: RunFolder, path: Path, follow: bool, tail: int) -> Iterator[str]:
    offset = 0
    if path.exists():
        with path.open("rb") as file:
            offset = file.seek(_beginning(file, tail) if tail else 0)
            for line in file:
                offset += len(line)
                yield line.decode(errors="replace")
    while follow:
        at_work = _at_work(folder)
        if path.exists() and path.stat().st_size > offset:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read()
            offset += len(content)
            yield content.decode(errors="replace")
        elif not at_work:
            return
        time.sleep(_POLL_SECONDS)


def _at_work(folder: RunFolder) -> bool:
    from modelyard.yard import holder

    held = holder(folder)
    return held is not None and held.alive


def _beginning(file: BinaryIO, tail: int) -> int:
    """Where the last `tail` lines begin, found in blocks from the end: a log may be larger than memory."""
    end = file.seek(0, os.SEEK_END) - 1  # the newline that ends the last line begins none
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start)
        at = len(block)
        while tail and (at := block.rfind(b"\n", 0, at)) >= 0:
            tail -= 1
        if not tail:
            return start + at + 1
        end = start
    return 0
