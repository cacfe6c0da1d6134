"""Logs go to their file, without secrets, and nothing goes to the terminal."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.telemetry import MASK, RedactingStream, configure_logging

SECRET = "xyzzy-planted"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    handler = configure_logging(tmp_path / "new" / "driver.log")
    yield tmp_path / "new" / "driver.log"
    handler.close()
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def test_a_log_file_holds_messages_and_tracebacks_without_secrets(log: Path) -> None:
    logger = logging.getLogger("some.library")
    logger.info("token is %s of %d", SECRET, 3)
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        logger.exception("failed with password=%s", "hunter2")
    logger.warning("broken %d format", "x")
    warnings.warn(f"careful: {SECRET}", stacklevel=1)
    text = log.read_text()
    assert SECRET not in text
    assert "hunter2" not in text
    assert f"token is {MASK} of 3" in text
    assert f"ValueError: refused {MASK}" in text
    assert "broken %d format ('x',)" in text
    assert f"careful: {MASK}" in text
    assert text.splitlines()[0].split()[1:3] == ["INFO", "some.library:"]


def test_times_are_utc(log: Path) -> None:
    logging.getLogger("some.library").info("now")
    assert log.read_text().split()[0].endswith("Z")


def test_nothing_goes_to_the_terminal(tmp_path: Path) -> None:
    script = f"""
import logging, pathlib
logging.basicConfig()
from modelyard.telemetry import configure_logging
configure_logging(pathlib.Path({str(tmp_path / "driver.log")!r}))
logging.getLogger("x").error("to the file")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert "to the file" in (tmp_path / "driver.log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_fails_neither_logging_nor_a_stream() -> None:
    script = """
import logging, os, pathlib
from modelyard.telemetry import RedactingStream, configure_logging
handler = configure_logging(pathlib.Path("/dev/full"))
logging.getLogger("x").error("lost")
handler.close()
stream = RedactingStream(open("/dev/full", "w", buffering=1))
print("lost", file=stream)
stream.flush()
stream.close()
print("went on", flush=True)
os._exit(0)  # before the stream below is flushed once more
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("went on\n", "")


def test_a_stream_passes_whole_lines_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    inner = io.StringIO()
    stream = RedactingStream(inner)
    print("using", SECRET[:4], end="", file=stream)
    assert inner.getvalue() == ""
    print(SECRET[4:], "now", file=stream)
    assert inner.getvalue() == f"using {MASK} now\n"
    stream.write("progress 10%\rprogress 20%\rtail")
    assert inner.getvalue().endswith("progress 20%\r")
    stream.close()
    assert inner.getvalue().endswith("tail")
    assert not stream.isatty()
    assert stream.writable()


def test_a_key_block_is_held_back_until_it_is_whole() -> None:
    inner = io.StringIO()
    stream = RedactingStream(inner)
    for line in ("before", "-----BEGIN PRIVATE KEY-----", "MIIEabc", "-----END PRIVATE KEY-----", "after"):
        print(line, file=stream)
    stream.close()
    assert inner.getvalue() == f"before\n{MASK}\nafter\n"


def test_a_key_block_without_an_end_goes_all_the_same() -> None:
    inner = io.StringIO()
    stream = RedactingStream(inner)
    print("-----BEGIN PRIVATE KEY-----\nMIIEabc", file=stream)
    stream.close()
    assert inner.getvalue() == MASK


def test_a_line_without_end_is_not_held_for_ever() -> None:
    inner = io.StringIO()
    stream = RedactingStream(inner, max_held_characters=100)
    for _ in range(30):
        stream.write("ten chars ")
    assert len(inner.getvalue()) >= 200
