"""The notebook under examples/ runs from its first cell to its last, as a reader would run it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def output_of(cell: nbformat.NotebookNode) -> str:
    return "".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)


@pytest.mark.timeout(420)
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = [output_of(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert "register" in told[3]
    assert "heldout/bits_per_byte" in told[4]
    assert told[5].count("The statement") >= 2
    assert "topics@1, sha256:" in told[6]
    assert "step   1  loss" in told[7]
    assert (tmp_path / told[6].splitlines()[0]).is_file()


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
