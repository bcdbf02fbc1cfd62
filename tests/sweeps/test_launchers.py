"""Sweeps whose runs happen in other processes: submitit's local executor, which does what Slurm's does, and joblib."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import MissingConfigException

from milr import cli
from milr.command.mistakes import explain
from milr.data.records import Catalogue
from milr.settings.store import store_schemas

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
store_schemas()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # submitit leaves its processes to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_run_of_a_sweep_in_a_process_of_its_own(
    birds: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["dataset.species=12", "dataset.images_per_species=8", "dataset.picture_size=64", "dataset.size=32"]
    words = [*small, f"dataset.root={birds.root}", "device=cpu", "episode.way=3", "episode.query=2", "train.episodes=0"]
    assert cli.main(["train-protonet", "--multirun", "hydra/launcher=local", *words, "seed=1,2"]) == 0
    (sweep,) = (tmp_path / "outputs/train_protonet_sweeps").iterdir()
    manifests = [json.loads(path.read_text()) for path in sweep.glob("*/manifest.json")]
    assert sorted(manifest["seed"] for manifest in manifests) == [1, 2]
    assert all(manifest["state"] == "finished" for manifest in manifests)
    assert len(list(sweep.glob(".submitit/*/*_log.out"))) == 2


def test_the_slurm_file_asks_for_a_gpu_for_each_run() -> None:
    with initialize_config_module("milr.conf", version_base="1.3"):
        config = compose("fit_milr", ["source=latest", "hydra/launcher=slurm"], return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (1, 1, 1)


@pytest.mark.parametrize(("option", "extra"), [("joblib", "joblib"), ("submitit_slurm", "slurm")])
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(option: str, extra: str) -> None:
    error = MissingConfigException("Could not find it", f"hydra/launcher/{option}")
    line = explain(error, "fit_milr", [f"hydra/launcher={option}"])
    assert f"{option} is not installed" in line and f"pip install 'milr[{extra}]'" in line


def test_a_launcher_that_does_not_exist() -> None:
    error = MissingConfigException("Could not find it", "hydra/launcher/slurmm")
    line = explain(error, "fit_milr", [])
    assert "hydra/launcher=slurmm" in line and "(did you mean 'slurm'?)" in line
