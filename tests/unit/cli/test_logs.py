"""The end of a log, read without reading the rest."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.cli import logs
from modelyard.errors import NotFoundError
from modelyard.yard import RunFolder, open_yard


@given(st.lists(st.sampled_from([b"", b"a", b"zw\xc3\xb6lf"])), st.integers(1, 6), st.integers(1, 9), st.booleans())
@example([], 1, 1, False)
def test_the_last_lines_begin_where_they_do(lines: list[bytes], tail: int, block: int, torn: bool) -> None:
    content = b"".join(line + b"\n" for line in lines) + (b"torn" if torn else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_BLOCK_BYTES", block)
        begin = logs._beginning(io.BytesIO(content), tail)
    assert content[begin:].splitlines() == content.splitlines()[-tail:]


class Counted(io.BytesIO):
    """Counts what is read of it."""

    num_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.num_bytes += len(block)
        return block


def test_a_short_end_of_a_long_log_is_read_in_one_block() -> None:
    file = Counted(b"a line\n" * 1_000_000)
    assert logs._beginning(file, 10) == 7 * (1_000_000 - 10)
    assert file.num_bytes == logs._BLOCK_BYTES


@pytest.mark.parametrize(("tail", "shown"), [(0, "one\ntwo\nthr"), (2, "two\nthr"), (9, "one\ntwo\nthr")])
def test_a_log_is_shown(tmp_path: Path, tail: int, shown: str) -> None:
    run = RunFolder("job-0123abcd", tmp_path)
    run.driver_log.write_text("one\ntwo\nthr")
    assert "".join(logs._lines(run, run.driver_log, False, tail)) == shown


@pytest.mark.parametrize("follow", [False, True])
def test_a_log_that_nobody_will_write_is_not_awaited(tmp_path: Path, follow: bool) -> None:
    run = open_yard(tmp_path).run("job-0123abcd")
    run.logs.mkdir(parents=True)
    (run.logs / "rank-0.log").write_text("one\n")
    with pytest.raises(NotFoundError, match=r"rank-9\.log does not exist") as refused:
        logs.logs(run.run_id, rank=9, follow=follow, yard=str(tmp_path))
    assert refused.value.hint == "ranks with a log: 0"
