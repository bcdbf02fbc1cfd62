"""What the documents name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def names_in(path: Path) -> set[str]:
    """The names of a module's test functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`:]+\.py)::([^`]+)`", text)
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)]
    assert len(named) > 30 and missing == []


def test_every_fault_has_a_test_or_says_why_not() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| ---"))]
    assert len(rows) > 30 and [row for row in rows if "`tests/" not in row] == []
