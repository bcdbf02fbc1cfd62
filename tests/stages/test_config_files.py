"""A fault in the user's own config file: one line that names the file, and the key or the line in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from milr.cli import main

Capture = pytest.CaptureFixture[str]
HEAD = "# @package _global_\n"


def told(folder: Path, words: list[str], capsys: Capture) -> str:
    assert main(["train-protonet", "--config-dir", str(folder), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error[len("error: ") :].rstrip("\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{HEAD}train:\n  episode: 5\n", ": train-protonet has no key 'train.episode': did you mean 'train.episodes'"),
        (f"{HEAD}nosuch: 5\n", ": train-protonet has no key 'nosuch'; `milr train-protonet --help` lists the keys"),
        (f"{HEAD}train:\n  episodes: many\n", ": train.episodes: the value must be a whole number"),
        (f"{HEAD}seed: null\n", ": seed: the value must be a whole number"),
        (f"{HEAD}train: [1]\n", ": train is a section: set one of its keys, such as train.episodes=<value>"),
        (f"{HEAD}train.episodes: 5\n", ": train.episodes is written in two lines there"),
        (f"{HEAD}seed: [1\nx: 2\n", ".yaml, line 3: "),
        (f"{HEAD}train:\n\tepisodes: 5\n", ".yaml, line 3: found character '\\t' that cannot start any token; indent"),
        (f"{HEAD}seed: 1\nseed: 2\n", ".yaml, line 3: found duplicate key seed"),
        (f"{HEAD}seed: ${{\n", ": no viable alternative at input '${'"),
        ("seed: 1\n", ": a file of experiment/ begins with the line `# @package _global_`"),
        ("", ": a file of experiment/ begins with the line `# @package _global_`"),
        (f"{HEAD}dataset:\n  root: données\n".encode("latin-1"), " is no text in UTF-8"),
        (f"{HEAD}defaults:\n  - override /dataset: nosuch\n", ": dataset=nosuch: choose one of cub, folder"),
        (f"{HEAD}defaults:\n  - nosuch\n", ": experiment=nosuch: choose one of closer_look"),
        (f"{HEAD}defaults:\n  - override /nosuch: x\n", "Could not override 'nosuch'. No match in the defaults list."),
        (f"{HEAD}defaults: cub\n", "defaults must be a list (got str)"),
        (f"{HEAD}defaults:\n  - /dataset: cub\n", "names a second dataset: write `override /dataset: <option>`"),
        (f"{HEAD}defaults:\n  - mine\n", "its defaults list comes back to itself"),
        (f"{HEAD}seed: &a [*a]\n", "or an alias (*) stands within what it means"),
        (f'{HEAD}outputs: "runs\\0"\n', "outputs=runs\\x00: there is a NUL character in the text"),
        (f"{HEAD}seed: -1\n", "seed=-1: the value must be from 0"),
        (f"{HEAD}seed: ${{nosuch}}\n", "seed: Interpolation key 'nosuch' not found"),
    ],
)  # fmt: skip
def test_the_file_and_what_is_wrong_in_it_are_named(
    text: str | bytes, line: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    error = told(tmp_path, ["experiment=mine"], capsys)
    assert error.startswith(str(file).removesuffix(".yaml"))
    assert line in error


def test_what_is_no_file_is_no_option(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "experiment" / "folder.yaml").mkdir(parents=True)
    (tmp_path / "experiment" / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(tmp_path / "experiment" / "pipe.yaml")
    for name in ("folder", "loop", "pipe"):
        line = told(tmp_path, [f"experiment={name}"], capsys)
        assert line.startswith(f"experiment={name}: choose one of") and "did you mean" not in line


def test_a_stages_part_and_another_groups_file_are_named(tmp_path: Path, capsys: Capture) -> None:
    for name, text in (
        ("experiment/mine.yaml", HEAD + "seed: 1\n"),
        ("experiment/train_protonet/mine.yaml", HEAD + "train:\n  nosuch: 1\n"),
        ("backbone/big.yaml", "name: resnet18\nweights: none\nwidth: 3\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    error = told(tmp_path, ["experiment=mine"], capsys)
    assert error.startswith(f"{tmp_path}/experiment/train_protonet/mine.yaml: train-protonet has no key 'train.nosuch'")
    error = told(tmp_path, ["backbone=big"], capsys)
    assert error.startswith(f"{tmp_path}/backbone/big.yaml: train-protonet has no key 'backbone.width'")


def test_options_of_the_users_folder_are_offered_and_taken(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(HEAD + "seed: 7\n")
    assert "did you mean 'mine'?" in told(tmp_path, ["experiment=mins"], capsys)
    assert main(["train-protonet", "experiment=mine", "--config-dir", str(tmp_path), "--cfg", "job"]) == 0
    assert "seed: 7\n" in capsys.readouterr().out


def test_a_mistake_on_the_command_line_is_not_laid_on_the_file(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(HEAD + "seed: 7\n")
    assert told(tmp_path, ["experiment=mine", "seed=x"], capsys) == "seed=x: the value must be a whole number"
