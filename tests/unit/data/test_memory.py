"""What a hostile or careless file costs: peak memory stays below 1 GiB, measured in a process of its own."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

READ = """
import json, re, sys
from pathlib import Path
from modelyard.data import read_documents
from modelyard.errors import ModelyardError
from modelyard.spec.datasets import SourceSpec
path = Path(sys.argv[1])
seen = []
try:
    for item in read_documents(SourceSpec(name="s", path=path.name), root=path.parent):
        seen.append(getattr(item, "reason", "document"))
except ModelyardError as error:
    seen.append(str(error))
# not getrusage: what that tells is at least the size of the process that started this one
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps({"seen": seen, "peak": peak}))
"""


def read(path: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["peak"] < 1 << 30
    seen: list[str] = result["seen"]
    return seen


@pytest.mark.parametrize("suffix", ["jsonl", "txt"])
def test_a_single_line_of_200_mb_is_one_bad_record(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with path.open("wb") as file:
        file.truncate(200_000_000)  # sparse
        if suffix == "jsonl":
            file.seek(0, 2)
            file.write(b'\n{"text": "after"}\n')
    assert read(path) == (["too_long", "document"] if suffix == "jsonl" else ["too_long"])


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_decompression_bomb_is_refused(tmp_path: Path, suffix: str) -> None:
    zeros = bytes(1 << 20)
    path = tmp_path / f"a.jsonl.{suffix}"
    if suffix == "gz":
        path.write_bytes(gzip.compress(zeros * 64) * 5)  # 335 MB in 0.3
    else:
        with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as writer:
            for _ in range(300):
                writer.write(zeros)
    (message,) = read(path)
    assert "looks like a decompression bomb" in message
