"""What torchrun's processes may do, and one training in two of them through the command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from forked import CONTEXT, begin, finish, load

from milr import cli
from milr.data.records import Catalogue
from milr.errors import MilrError
from milr.runs.folder import open_run
from milr.runs.processes import check_processes, launched_local_rank, launched_processes, launched_rank
from milr.settings.stages import STAGES
from milr.stages.train_protonet import require_as_many_processes

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_alone_everything_is_allowed() -> None:
    assert (launched_processes(), launched_rank(), launched_local_rank()) == (1, 0, 0)
    check_processes(STAGES["fit_milr"], ["--multirun"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit-milr source=latest", "torchrun started 2 processes .WORLD_SIZE., and fit-milr is for one"),
        ("data", "and data is for one"),
        ("train-protonet -m seed=1,2", "--multirun is for several"),
        ("train-protonet seed=1,2 --multirun", "--multirun is for several"),
        ("train-protonet seed=1,2 hydra.mode=MULTIRUN", "--multirun is for several"),
    ],
)
def test_what_several_processes_would_each_do_anew_is_refused(
    second_of_two: None, line: str, message: str, capsys: Capture
) -> None:
    stage, *words = line.split()
    with pytest.raises(MilrError, match=message):
        check_processes(STAGES[stage.replace("-", "_")], words)
    assert cli.main(line.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1


def test_help_and_training_are_allowed(second_of_two: None) -> None:
    assert (launched_processes(), launched_rank(), launched_local_rank()) == (2, 1, 1)
    assert cli.main(["fit-milr", "--help"]) == 0
    check_processes(STAGES["train_protonet"], ["seed=1"])


def test_what_several_processes_began_is_not_resumed_by_one(tmp_path: Path) -> None:
    with open_run(tmp_path, "train_protonet", "run", {"processes": 8}) as run:
        with pytest.raises(MilrError, match="begun by 8 processes of torchrun, whose steps are not those of 1"):
            require_as_many_processes(run)
        run.manifest["processes"] = 1
        require_as_many_processes(run)


def torchrun(words: list[str], said: Path) -> None:
    """`torchrun --standalone --nproc-per-node=2 -m milr train-protonet words`, but that its processes are forked."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with said.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(1, "a")
        torch.set_num_threads(1)
        launched = LaunchConfig(
            1,
            1,
            2,
            rdzv_endpoint="localhost:0",
            rdzv_backend="c10d",
            max_restarts=0,
            start_method=CONTEXT.get_start_method(),
        )
        codes = elastic_launch(launched, cli.main)(["train-protonet", *words])  # in the order in which they ended
        print("codes:", dict(sorted(codes.items())), flush=True)


@pytest.mark.slow
def test_two_processes_train_one_network_and_the_first_writes(birds: Catalogue, tmp_path: Path) -> None:
    small = ["dataset.species=12", "dataset.images_per_species=8", "dataset.picture_size=64", "dataset.size=32"]
    words = [*small, f"dataset.root={birds.root}", f"outputs={tmp_path}", "device=cpu", "episode.way=3"]
    words += ["episode.query=2", "train.episodes=6", "train.validate_every=2", "train.log_every=1"]
    load()
    finish(begin(torchrun, words, tmp_path / "said"))
    said = (tmp_path / "said").read_text()
    assert "codes: {0: 0, 1: 0}" in said, said
    (run,) = (tmp_path / "train_protonet").iterdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["state"] == "finished" and manifest["processes"] == 2
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [1, 2, 3]  # of two episodes each
    assert [line["step"] for line in lines if line["split"] == "validation"] == [0, 2, 3]
    assert said.count("kept step") == 1
    assert torch.load(run / "best.pt", weights_only=True)["backbone"] == "conv4"
