"""Completion as bash asks for it: Hydra's own script, run by a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from milr.cli import main
from milr.command.completion import command_words, is_query, read_line

STAGES = ["fit-milr", "data"]


@pytest.mark.parametrize(
    ("line", "stage", "rest"),
    [
        ("milr ", None, ""),
        ("milr fi", None, "fi"),
        ("milr fit-milr", None, "fit-milr"),
        ("milr fit-milr ", "fit-milr", "milr "),
        ("milr  fit_milr   milr.al", "fit-milr", "milr milr.al"),
        ("/usr/bin/milr fit-milr a=1 b", "fit-milr", "/usr/bin/milr a=1 b"),
        ("milr fit-mlir a", None, "fit-mlir a"),
        ("", None, ""),
    ],
)
def test_the_stage_is_taken_out_of_the_line(line: str, stage: str | None, rest: str) -> None:
    assert read_line({"COMP_LINE": line}, STAGES) == (stage, rest)


@pytest.mark.parametrize(
    ("line", "rest", "offered"),
    [
        ("milr ", "milr ", ["fit-milr", "data", "runs", "show", "check", "rerun"]),
        ("milr runs --j", "", ["--json"]),
        ("milr runs stage=x st", "", ["stage=", "state="]),
        ("milr show ", "", ["fit-milr", "data"]),
        ("milr show x ", "", ["--json", "outputs="]),
        ("milr rerun x o", "", ["outputs="]),
        ("milr check f", "milr f", ["fit-milr"]),
        ("milr check fit-milr s", "milr fit-milr s", []),
    ],
)
def test_the_commands_about_runs_are_completed(line: str, rest: str, offered: list[str]) -> None:
    commands = ["runs", "show", "check", "rerun"]
    assert command_words({"COMP_LINE": line}, STAGES, commands) == (rest, offered)


def test_a_query_is_told_from_an_installation() -> None:
    assert is_query(["-sc", "query=bash"])
    assert not is_query(["-sc", "install=bash"])
    assert not is_query(["query=bash"])


COMPLETED = {
    "milr vi": {"visualize"},
    "milr fit-milr layers=layer1": {"layers=layer1_avgpool", "layers=layer1_layer4"},
    "milr fit-milr milr.be": {"milr.beta=", "milr.beta_warmup="},
    "milr train-protonet dataset=cub backb": {"backbone=", "backbone."},
    "milr train-protonet milr.": set[str](),
    "milr train-protonet exp": {"experiment="},
    "milr train-protonet lay": set[str](),
    "milr train-protonet sch": set[str](),
    "milr ru": {"runs"},
    "milr r": {"report", "rerun", "runs"},
    "milr runs sta": {"stage=", "state="},
    "milr show fit": {"fit-milr"},
    "milr check te": {"test-protonet"},
    "milr check fit-milr milr.be": {"milr.beta=", "milr.beta_warmup="},
}


IN_BASH = ("milr vi", "milr fit-milr milr.be", "milr train-protonet dataset=cub backb", "milr train-protonet milr.")


@pytest.mark.slow
def test_each_line_is_answered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What Hydra's script does in bash, but for the process that it starts."""
    for line, words in COMPLETED.items():
        for name, value in (("COMP_LINE", line), ("COMP_POINT", str(len(line))), ("COMP_CWORD", "1")):
            monkeypatch.setenv(name, value)
        assert main(["-sc", "query=bash"]) == 0
        assert set(capsys.readouterr().out.split()) == words, line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_with_the_stage_in_the_line(tmp_path: Path) -> None:
    program = tmp_path / "milr"  # a PATH on which `milr` is this checkout's
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m milr "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(milr fit-milr -sc install=bash)"
        complete -p milr > /dev/null || exit 1
        while IFS= read -r COMP_LINE; do
            IFS=' ' read -ra COMP_WORDS <<< "$COMP_LINE|"  # the | keeps an empty last word, and is taken off again
            last=$(( ${#COMP_WORDS[@]} - 1 ))
            COMP_WORDS[last]=${COMP_WORDS[last]%|} COMP_POINT=${#COMP_LINE} COMP_CWORD=$last COMPREPLY=()
            hydra_bash_completion < /dev/null
            echo "$COMP_LINE|${COMPREPLY[*]}"
        done
    """
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    lines = "".join(f"{line}\n" for line in IN_BASH)
    answer = subprocess.run(
        ["bash", "-c", script], input=lines, capture_output=True, text=True, env=environment, timeout=200
    )
    assert answer.stderr == ""
    offered = dict(line.split("|") for line in answer.stdout.splitlines())
    assert {line: set(words.split()) for line, words in offered.items()} == {line: COMPLETED[line] for line in IN_BASH}
