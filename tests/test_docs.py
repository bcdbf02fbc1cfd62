"""What the documents name is there."""

from __future__ import annotations

import ast
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

import milr

ROOT = Path(__file__).resolve().parent.parent


@cache
def names_in(path: Path) -> set[str]:
    """The names of a module's test functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`:]+\.py)::([^`]+)`", text)
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)]
    assert len(named) > 30 and missing == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_what_a_page_calls_by_its_module_is_there(page: Path) -> None:
    packages = "|".join(sorted(folder.parent.name for folder in (ROOT / "src" / "milr").glob("*/__init__.py")))
    for name in re.findall(rf"`(milr\.(?:{packages})\.[\w.]+)`", page.read_text(encoding="utf-8")):
        assert pkgutil.resolve_name(name) is not None


def test_every_fault_has_a_test_or_says_why_not() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| fault", "| ---"))]
    assert len(rows) > 30 and [row for row in rows if "`tests/" not in row] == []


def examples() -> dict[str, list[tuple[str, str]]]:
    """Title -> (file, line of it) of each diff in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {
        title: lines_of(diff) for title, diff in re.findall(r"^### (.+?)$.*?^```diff\n(.*?)^```", text, re.M | re.S)
    }


def lines_of(diff: str) -> list[tuple[str, str]]:
    """(file, line) of what a diff adds or keeps, without what it leaves out."""
    lines, file = [], ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            file = line[4:]
        elif line.strip() != "...":
            lines.append((file, line[1:]))
    return lines


def test_contributing_shows_an_example_of_each_thing() -> None:
    assert {"A stage", "A backbone", "A data set", "A bottleneck", "A baseline", "A metric"} <= examples().keys()


@pytest.mark.parametrize("title", examples())
def test_the_lines_of_an_example_in_contributing_are_there(title: str) -> None:
    missing = [
        f"{file}: {line}"
        for file, line in examples()[title]
        if not (ROOT / file).is_file() or line not in (ROOT / file).read_text(encoding="utf-8").splitlines()
    ]
    assert missing == []


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: milr\.(\w+)$", text, re.M)) == sorted(milr.__all__)


def test_every_picture_of_the_results_is_in_the_gallery_or_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    figures = [path.name for path in (ROOT / "docs" / "results" / "figures").iterdir()]
    assert [name for name in figures if name not in pages] == []


PAGES = ("README.md", *(f"docs/{name}.md" for name in ("index", "maps", "trust", "cub", "gallery", "report", "sweeps")))


@pytest.mark.parametrize("page", PAGES)
def test_every_number_of_a_page_is_among_the_results(page: str) -> None:
    """Three decimals are a measurement: it stands in docs/results too, in a text or in a table."""
    results = ROOT / "docs" / "results"
    known = {number for path in results.glob("*.md") for number in re.findall(r"\d\.\d{3}", path.read_text("utf-8"))}
    cells = {cell for path in results.glob("*.csv") for cell in re.split(r"[,\n]", path.read_text("utf-8"))}
    known |= {f"{float(cell):.3f}" for cell in cells if re.fullmatch(r"-?\d+\.\d+", cell)}
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)  # what a command printed
    said = re.findall(r"(?<![\d.])\d\.\d{3}(?!\d)", text)
    assert [number for number in said if number not in known] == []
    assert said or page != "README.md"
