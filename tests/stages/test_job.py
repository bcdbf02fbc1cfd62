"""A stage from the command line to its run folder, with work that only pretends."""

from __future__ import annotations

import logging
import os
import shlex
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from pretend import pretend
from small import manifest

from milr import cli
from milr.errors import MilrError
from milr.files import sha256_of
from milr.runs.checkpoints import save_checkpoint
from milr.runs.folder import Run
from milr.runs.manifests import read_config
from milr.runs.sources import SourceRun
from milr.settings.schema import FitMilr, TrainProtonet

Capture = pytest.CaptureFixture[str]

WANT = (
    "out of memory{}: let fewer pictures through at once (train.way, train.query; milr.way, milr.query, critic.images; "
    "episode.query), end other processes on the device, or take device=cpu"
)


def train(settings: TrainProtonet, run: Run) -> float:
    """Pretends to train; a learning rate of 13 diverges, 14 is a bug, 15 is stopped, 16 and 17 want memory."""
    logging.getLogger("milr.training").info("training at %g", settings.train.learning_rate)
    if settings.train.learning_rate == 13:
        raise MilrError("the loss is not a number in episode 7: lower train.learning_rate")
    if settings.train.learning_rate == 14:
        raise ZeroDivisionError("a bug")
    if settings.train.learning_rate == 15:
        raise KeyboardInterrupt
    if settings.train.learning_rate == 16:
        raise torch.cuda.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 72.00 MiB. GPU 0 has a total capacity of"
        )
    if settings.train.learning_rate == 17:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    save_checkpoint(run.path("best.pt"), {"kind": "protonet", "weight": torch.ones(1)})
    run.record_checkpoint("best.pt")
    run.record(result={"accuracy": 0.5})
    return 0.5


def fit(settings: FitMilr, run: Run, source: SourceRun) -> float:
    run.record(result={"source": str(source.folder)})
    return 0.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller's folder, and stages that pretend."""
    monkeypatch.chdir(tmp_path)
    pretend(monkeypatch, train_protonet=train, fit_milr=fit)
    return tmp_path


def runs(stage: str) -> list[Path]:
    return sorted(path.parent for path in Path("outputs", stage).rglob("manifest.json"))


def test_a_run_folder_holds_everything(folder: Path, capsys: Capture) -> None:
    assert cli.main(["train-protonet", "seed=3", "dataset.root=birds", "episode.way=4"]) == 0
    (run,) = runs("train_protonet")
    assert {path.name for path in run.iterdir()} == {"DONE", "best.pt", "config.yaml", "log.txt", "manifest.json"}
    assert os.listdir(folder) == ["outputs"]  # Hydra leaves nothing of its own

    config = OmegaConf.load(run / "config.yaml")
    assert config.dataset.root == str(folder / "birds")  # from the caller's folder, wherever it is read from
    assert (config.seed, config.episode.way, config.outputs) == (3, 4, "outputs")

    entries = manifest(run)
    assert entries["command"] == "milr train-protonet seed=3 dataset.root=birds episode.way=4"
    assert (entries["stage"], entries["state"], entries["seed"]) == ("train_protonet", "finished", 3)
    versions = {"python", "torch", "torchvision", "hydra", "omegaconf", "pillow", "numpy", "captum", "zennit"} | {
        "timm",
        "transformers",
    }
    assert versions == entries["versions"].keys()
    assert entries["host"]["threads"] == torch.get_num_threads()
    assert entries["repeats"] is None and entries["weights"] is None
    assert entries["episode"] == {"way": 4, "shot": 1, "query": 10}
    assert entries["parent"] is None and entries["result"] == {"accuracy": 0.5}

    captured = capsys.readouterr()
    assert "training at 0.001" in captured.out and str(run) in captured.out
    assert "training at 0.001" in (run / "log.txt").read_text()
    assert logging.getLogger("milr").handlers == []


@pytest.mark.parametrize(
    ("rate", "code", "state", "message"),
    [
        (13, 2, "failed", "the loss is not a number in episode 7: lower train.learning_rate"),
        (14, 1, "failed", "ZeroDivisionError: a bug"),
        (15, 130, "interrupted", None),
        (16, 2, "failed", WANT.format(" (CUDA out of memory)")),
        (17, 2, "failed", WANT.format(" (CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`)")),
    ],
)
def test_a_run_that_breaks_off(rate: int, code: int, state: str, message: str | None, capsys: Capture) -> None:
    assert cli.main(["train-protonet", f"train.learning_rate={rate}"]) == code
    (run,) = runs("train_protonet")
    assert (manifest(run)["state"], manifest(run).get("error")) == (state, message)
    told = capsys.readouterr().err
    assert "Error executing job" not in told
    if code == 2:
        assert told.startswith("error: ") and str(message) in told and told.count("\n") == 1
    if code == 1:
        assert "Traceback" in told and told.count("ZeroDivisionError: a bug") == 1
        assert "Traceback" in (run / "log.txt").read_text()
    if code == 130:
        assert told == "interrupted\n"
    assert cli.main(["fit-milr", "source=latest"]) == 2  # nothing finished to go on from


def test_hydras_own_switch_shows_the_traceback(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert cli.main(["train-protonet", "train.learning_rate=13"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failed_job_and_says_so(capsys: Capture) -> None:
    assert cli.main(["train-protonet", "-m", "train.learning_rate=13,0.1", "seed=1,2"]) == 2
    (sweep,) = Path("outputs/train_protonet_sweeps").iterdir()
    states = {run.name: manifest(run)["state"] for run in runs("train_protonet_sweeps")}
    assert states == {
        "seed=1,train.learning_rate=0.1": "finished",
        "seed=2,train.learning_rate=0.1": "finished",
        "seed=1,train.learning_rate=13": "failed",
        "seed=2,train.learning_rate=13": "failed",
    }
    assert all((sweep / name).is_dir() for name in states)
    told = capsys.readouterr().err
    assert told.count("error: the loss is not a number") == 2 and told.count("\n") == 2


def test_a_bug_outweighs_a_mistake_in_a_sweeps_exit_code() -> None:
    assert cli.main(["train-protonet", "-m", "train.learning_rate=14,13"]) == 1


def test_a_stage_goes_on_from_a_run_and_records_it(folder: Path) -> None:
    assert cli.main(["train-protonet", "dataset=cub", "dataset.root=birds", "backbone=resnet12", "episode.way=4"]) == 0
    assert cli.main(["fit-milr", "source=latest", "layers=layer2_avgpool"]) == 0
    (parent,), (run,) = runs("train_protonet"), runs("fit_milr")
    config = OmegaConf.load(run / "config.yaml")
    assert config.source == str(folder / parent)
    assert (config.dataset.name, config.dataset.root) == ("cub", str(folder / "birds"))
    assert (config.backbone.name, config.episode.way, config.layers.local) == ("resnet12", 4, "layer2")
    entries = manifest(run)
    assert entries["parent"] == {
        "folder": str(folder / parent),
        "stage": "train_protonet",
        "checkpoint": "best.pt",
        "sha256": manifest(parent)["checkpoint"]["sha256"],
    }
    assert entries["backbone"]["name"] == "resnet12"


def test_the_users_own_first_weights_are_recorded_with_their_sha256(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(b"weights")
    assert cli.main(["train-protonet", "backbone.weights=weights.pt"]) == 0
    (run,) = runs("train_protonet")
    entry = {"file": str(folder / "weights.pt"), "sha256": sha256_of(folder / "weights.pt")}
    assert manifest(run)["weights"] == entry


def test_a_contradiction_leaves_no_run(capsys: Capture) -> None:
    assert cli.main(["train-protonet"]) == 0
    capsys.readouterr()
    assert cli.main(["fit-milr", "source=latest", "episode.shot=5"]) == 2
    told = capsys.readouterr().err
    assert "episode.shot=5" in told and "episode.shot=1" in told
    assert runs("fit_milr") == []


@pytest.mark.slow
def test_a_sweep_over_a_chained_stage(folder: Path) -> None:
    assert cli.main(["train-protonet"]) == 0
    (parent,) = runs("train_protonet")
    assert cli.main(["fit-milr", "-m", f"source={parent}", "milr.alpha=0.5,1", "milr.beta=0.1"]) == 0
    names = [run.name for run in runs("fit_milr_sweeps")]
    assert names == ["milr.alpha=0.5,milr.beta=0.1", "milr.alpha=1,milr.beta=0.1"]


@pytest.mark.parametrize("arguments", [[], ["--multirun", "seed=1,2"]])
def test_an_unwritable_output_folder_is_named(arguments: list[str], folder: Path, capsys: Capture) -> None:
    (folder / "file").write_text("")
    assert cli.main(["train-protonet", "outputs=file/outputs", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "file/outputs" in told and told.count("\n") == 1


def test_odd_paths_reach_the_run_and_its_repetition(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "home"))
    words = ["dataset.root=data/données (1),a=b", "outputs=~/out [x], 'y'", "backbone.weights=w#1 $x.pt"]
    assert cli.main(["train-protonet", *words]) == 0
    (run,) = (folder / "home" / "out [x], 'y'" / "train_protonet").iterdir()
    config = OmegaConf.load(run / "config.yaml")
    assert config.dataset.root == str(folder / "data/données (1),a=b")
    assert config.backbone.weights == str(folder / "w#1 $x.pt")
    assert config.outputs == str(run.parents[1])
    assert cli.main(["rerun", str(run)]) == 0
    again = next(path for path in run.parent.iterdir() if path != run)
    assert OmegaConf.load(again / "config.yaml") == config
    assert shlex.split(manifest(run)["command"])[:2] == ["milr", "train-protonet"]
    assert cli.main(shlex.split(manifest(run)["command"])[1:]) == 0  # the command that it says repeats it too
    assert len(list(run.parent.iterdir())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [False, True])
def test_paths_are_from_where_the_command_was_typed_with_chdir_too(folder: Path, sweep: bool) -> None:
    chdir = ["hydra.job.chdir=true"]
    (folder / "w.pt").write_bytes(b"weights")
    words = ["dataset.root=birds", "outputs=out", "backbone.weights=w.pt"]
    assert cli.main(["train-protonet", *chdir, *words]) == 0
    (first,) = (folder / "out" / "train_protonet").iterdir()
    config = OmegaConf.load(first / "config.yaml")
    assert (config.dataset.root, config.backbone.weights) == (str(folder / "birds"), str(folder / "w.pt"))
    source = f"source={first.relative_to(folder)}"
    line = ["fit-milr", *chdir, "outputs=out", source, *(["-m", "milr.alpha=1,2"] if sweep else [])]
    assert cli.main(line) == 0
    fits = list((folder / "out").glob("fit_milr_sweeps/*/*/DONE" if sweep else "fit_milr/*/DONE"))
    assert len(fits) == 1 + sweep
    assert {manifest(fit.parent)["parent"]["folder"] for fit in fits} == {str(first)}
    assert Path.cwd() == folder


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("  local: layer1\n", "  local: layer2\n", "layers.local=layer2, and the run was made with layer1"),
        ("  alpha: 0.1\n", "  alpha: 1\n", "milr.alpha=1, and the run was made with 0.1"),
        ("  alpha: 0.1\n", "", "milr.alpha=no such key, and the run was made with 0.1"),
        ("  source: milr\n", "  source: timm\n", "backbone.source=timm, and the run was made with milr"),
        ("seed: 0\n", "seed: 1\n", "seed=1, and the run was made with 0"),
    ],
)
def test_any_setting_of_a_run_that_was_edited_afterwards_is_refused(
    folder: Path, capsys: Capture, old: str, new: str, what: str
) -> None:
    assert cli.main(["train-protonet"]) == cli.main(["fit-milr", "source=latest"]) == 0
    (run,) = runs("fit_milr")
    config = run / "config.yaml"
    assert read_config(run)["device"] == "auto"
    config.write_text(config.read_text().replace("device: auto", "device: cpu").replace("root: data", "root: moved"))
    assert read_config(run)["device"] == "cpu"  # what changes no result may be another
    text = config.read_text()
    config.write_text(text.replace(old, new, 1))
    assert config.read_text() != text
    capsys.readouterr()
    assert cli.main(["rerun", str(run)]) == 2
    assert f"config.yaml has {what} (manifest.json): it was changed" in capsys.readouterr().err
