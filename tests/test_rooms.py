"""The order of the packages: each imports only those below it, no two files import each other, few imports are late."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter

import rooms
from rooms import ORDER, PICTURE, SOURCE, between_rooms, drawn_pairs, room_of

modules = cache(rooms.modules)


@cache
def arrows() -> rooms.Arrows:
    return rooms.arrows(modules())


def test_no_arrow_runs_up() -> None:
    floor = {room: number for number, room in enumerate(ORDER)}
    up = [
        f"{one} -> {other}"
        for one, others in arrows().items()
        for other in others
        if floor[room_of(other)] > floor[room_of(one)]
    ]
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


def test_the_package_of_the_stages_stays_small() -> None:
    assert len(list((SOURCE / "milr" / "stages").glob("*.py"))) <= 19


def test_every_package_says_what_it_is_about() -> None:
    trees = modules()
    assert [room for room in ORDER[1:-1] if not ast.get_docstring(trees[f"milr.{room}"])] == []


def test_the_picture_has_the_arrows_of_today() -> None:
    """Their widths may be older: `make rooms` draws it again."""
    today = {pair for pair in between_rooms(arrows()) if pair[1] != "base"}
    assert drawn_pairs(PICTURE.read_text(encoding="utf-8")) == today, "make rooms draws docs/rooms.svg again"
