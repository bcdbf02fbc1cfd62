"""The notebook runs from top to bottom, and shows its first figure within five cells."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "notebooks" / "own_network.ipynb"

SHORTER = {
    "range(6)": "range(1)",
    "steps=30, critic=milr.CriticSettings(steps=60)": "steps=3, critic=milr.CriticSettings(steps=4)",
}


def outputs(cell: nbformat.NotebookNode) -> set[str]:
    """The kinds of what a cell shows, as MIME types."""
    return {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:  # a fit is a fit after a few steps: what the page's figure shows is for readers
        for long, short in SHORTER.items():
            cell.source = cell.source.replace(long, short)
    assert sum(short in cell.source for cell in notebook.cells for short in SHORTER.values()) == len(SHORTER)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    figures = [number for number, cell in enumerate(code, 1) if "image/png" in outputs(cell)]
    assert figures and figures[0] <= 5
    shown = [output["data"]["text/html"] for cell in code for output in cell["outputs"] if "text/html" in outputs(cell)]
    assert len(shown) == 2 and all('type="range"' in html for html in shown)  # the slider, and maps by themselves
    assert {path.name for path in tmp_path.iterdir()} >= {"maps.npz", "maps.pdf", "milr.pt"}
