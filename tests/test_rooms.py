"""The house's order: a room imports only rooms below it, no two files import each other, and few imports are late."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "src"
ORDER = (  # from the ground up; files beside the rooms are the ground floor, but for those that open the house
    *("milr", "information", "data", "networks", "explanation", "evaluation"),
    *("settings", "command", "runs", "sweeps", "stages", "lineage", "cli"),
)
DOORS = ("__init__", "__main__", "cli")


@cache
def modules() -> dict[str, ast.Module]:
    """Module -> its tree, of the whole package."""
    files = (path for path in ROOT.rglob("*.py") if "conf" not in path.parts)
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for path, name in names.items()}


def imported(tree: ast.AST, known: set[str]) -> set[str]:
    """The modules of milr that a tree imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {name for a in node.names if (name := f"{node.module}.{a.name}") in known} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def floor(module: str) -> int:
    """How high a module stands."""
    parts = module.split(".")
    if len(parts) == 2:
        return len(ORDER) if parts[1] in DOORS else 0
    return ORDER.index(parts[1])


def arrows() -> dict[str, set[str]]:
    """Module -> what it imports of milr. The package's face names everything, but imports it on first use."""
    trees = modules()
    return {name: imported(tree, set(trees)) for name, tree in trees.items() if name != "milr.__init__"}


def test_no_arrow_runs_up() -> None:
    up = [f"{one} -> {other}" for one, others in arrows().items() for other in others if floor(other) > floor(one)]
    assert up == []


def test_no_two_files_import_each_other() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from error


def test_few_imports_stand_inside_functions() -> None:
    late = [
        f"{name}.{function.name}: {ast.unparse(node)}"
        for name, tree in modules().items()
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert len(late) <= 10, "\n".join(late)


def test_the_room_of_the_stages_stays_small() -> None:
    assert len(list((ROOT / "milr" / "stages").glob("*.py"))) <= 16
