from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from milr.errors import MilrError
from milr.lineage.listing import key_figure, list_runs
from milr.runs.find import RunInfo
from milr.runs.folder import open_run

MakeRun = Callable[..., Path]

VALIDATION = {"objective": 2.0, "accuracy": 0.6, "untouched_accuracy": 0.8}


@pytest.mark.parametrize(
    ("stage", "entries", "figure"),
    [
        (
            "test_protonet",
            {"split": {"novel": ["a"]}, "result": {"accuracy": 0.5, "interval": 0.01}},
            "novel accuracy 0.500 ± 0.010",
        ),
        (
            "fit_milr",
            {"result": {"validation": VALIDATION}},
            "objective 2.000, validation accuracy 0.600 masked, 0.800 untouched",
        ),
        ("sanity", {"result": {"decision_repeatability": None, "rows": 3}}, "3 rows"),
        ("fit_milr", {"result": {"of": "another version"}}, "?"),
        ("train_protonet", {"result": {"validation_accuracy": None}}, "as it is, not trained"),
        ("fit_milr", {"result": None, "error": "the loss is nan\nmore"}, "the loss is nan"),
    ],
)
def test_the_key_figure_of_a_run(stage: str, entries: dict[str, Any], figure: str) -> None:
    assert key_figure(RunInfo(Path("run"), {"stage": stage, **entries})) == figure


def test_the_table_and_its_filters(make_run: MakeRun, outputs: Path) -> None:
    parent = make_run("train_protonet", "network", result={"validation_accuracy": 0.5})
    make_run("fit_milr", "fitted", parent=parent)
    with pytest.raises(KeyboardInterrupt), open_run(outputs / "fit_milr", "fit_milr", "given-up", {}):
        raise KeyboardInterrupt
    lines = list_runs(outputs, {}).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["train-protonet", "network"], ["fit-milr", "fitted"], ["fit-milr", "given-up"]
    ]  # fmt: skip
    assert "validation accuracy 0.500" in lines[1] and lines[2].split()[-1] == "network" and "interrupted" in lines[3]

    def names(**filters: str) -> list[str]:
        return [run["name"] for run in json.loads(list_runs(outputs, filters, as_json=True))]

    assert names(stage="fit-milr") == names(stage="fit_milr") == ["fit_milr/fitted", "fit_milr/given-up"]
    assert names(stage="fit-milr", state="finished") == ["fit_milr/fitted"]
    assert names(name="ork") == ["train_protonet/network"] and names(name="fit*given") == ["fit_milr/given-up"]
    assert list_runs(outputs, {"name": "nothing"}).startswith("no such run")


@pytest.mark.parametrize(
    ("filters", "message"), [({"stage": "fit"}, "did you mean 'fit-milr'"), ({"state": "finish"}, "did you mean 'fini")]
)
def test_a_filter_that_cannot_fit_is_refused(filters: dict[str, str], message: str) -> None:
    with pytest.raises(MilrError, match=message):
        list_runs(Path("anywhere"), filters)
