"""Scratch folders go with their process, also when it was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from modelyard.yard.scratch import close_scratch, open_scratch

HOLD = "import sys; from modelyard.yard.scratch import open_scratch; print(open_scratch(sys.argv[1]), flush=True); "


def test_a_closed_folder_is_gone_or_kept(tmp_path: Path) -> None:
    gone, kept = open_scratch(str(tmp_path)), open_scratch(str(tmp_path))
    close_scratch(gone)
    close_scratch(kept, keep=True)
    other = open_scratch(str(tmp_path))
    assert (gone.exists(), kept.exists(), other.exists()) == (False, True, True)
    close_scratch(other)


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD + "sys.stdin.read()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        theirs = Path(holder.stdout.readline().strip())
        close_scratch(open_scratch(str(tmp_path)))
        assert theirs.is_dir()  # it lives
        holder.kill()
        holder.wait()
    (tmp_path / "my-of-others").mkdir()
    close_scratch(open_scratch(str(tmp_path)))
    assert [folder.name for folder in tmp_path.iterdir()] == ["my-of-others"]
