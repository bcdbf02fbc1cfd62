from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from milr.cli import main

Capture = pytest.CaptureFixture[str]


def test_a_command_has_a_help_and_is_listed(capsys: Capture) -> None:
    assert main(["sweep-report", "--help"]) == 0
    assert "usage: milr sweep-report" in capsys.readouterr().out
    assert main([]) == 0
    assert "  sweep-report " in capsys.readouterr().out


def test_the_table_needs_neither_torch_nor_the_command_line_hydra(tmp_path: Path) -> None:
    code = """
import sys
from milr.cli import main
assert main(["runs", "outputs=."]) == 0 and main(["show", "--help"]) == 0
assert "torch" not in sys.modules and "matplotlib" not in sys.modules
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("no run in .")


def test_the_commands_do_not_need_the_command_line_that_calls_them() -> None:
    code = """
import sys
from milr.errors import MilrError
from milr.lineage.commands import run_command
try:
    run_command("check", ["fit-mlir"])
except MilrError as error:
    assert "did you mean 'fit-milr'" in str(error) and "milr.cli" not in sys.modules
else:
    sys.exit("no error")
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr


def test_json_may_stand_anywhere(make_run: Callable[..., Path], outputs: Path, capsys: Capture) -> None:
    make_run("train_protonet", "network")
    for line in (
        ["--json", "state=finished", f"outputs={outputs}"],
        ["state=finished", "--json", f"outputs={outputs}"],
    ):
        assert main(["runs", *line]) == 0
        assert [run["name"] for run in json.loads(capsys.readouterr().out)] == ["train_protonet/network"]
    assert main(["show", "--json", "network", f"outputs={outputs}"]) == 0
    assert json.loads(capsys.readouterr().out)["stage"] == "train-protonet"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("runs stat=finished", "(did you mean 'state'?)"),
        ("runs all", "cannot take 'all'"),
        ("runs --jsn", "unrecognized arguments: --jsn"),
        ("show", "required: run"),
        ("rerun x outputs=/nowhere", "there is no folder /nowhere"),
        ("runns", "did you mean 'runs'?"),
    ],
)
def test_words_that_no_command_takes(line: str, message: str, capsys: Capture) -> None:
    assert main(line.split()) == 2
    told = capsys.readouterr().err
    assert message in told and told.startswith("error: ") and told.count("\n") == 1
