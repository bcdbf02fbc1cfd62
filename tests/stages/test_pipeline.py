"""The stages one after the other on drawn birds, through the command line, and what they do with bad input."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from milr import cli
from milr.data.records import Catalogue
from milr.evaluation.methods import BASELINES, CONTROLS, KINDS
from milr.files import sha256_of

Capture = pytest.CaptureFixture[str]

SMALL = ["dataset.size=32", "backbone=resnet10", "device=cpu"]
DRAWN = ["dataset.species=12", "dataset.images_per_species=8", "dataset.picture_size=64"]
TRAIN = [*SMALL, "episode.way=3", "episode.query=2", "train.episodes=4", "train.validate_every=2"]
FIT = ["milr.steps=4", "milr.validate_every=2", "milr.validation_episodes=2", "infomax.bank_size=512"]


@pytest.fixture(scope="module")
def pipeline(birds: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder after all four stages have run."""
    outputs = tmp_path_factory.mktemp("outputs")
    here = [f"outputs={outputs}"]
    data = [f"dataset.root={birds.root}", *DRAWN]
    assert cli.main(["train-protonet", *here, *data, *TRAIN]) == 0
    assert cli.main(["test-protonet", *here, "source=latest", "test.episodes=40"]) == 0
    assert cli.main(["fit-milr", *here, "source=latest", *FIT]) == 0
    assert cli.main(["visualize", *here, "source=latest", "visualize.episodes=2"]) == 0
    return outputs


PAIR = ("decision", "random", "area, accuracy")


def run_of(outputs: Path, stage: str) -> Path:
    (run,) = (outputs / stage).iterdir()
    return run


def manifest(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "manifest.json").read_text())
    return content


@pytest.mark.parametrize(
    ("stage", "files"),
    [
        ("train_protonet", {"best.pt", "metrics.jsonl"}),
        ("test_protonet", {"episodes.csv", "metrics.jsonl"}),
        ("fit_milr", {"milr.pt", "metrics.jsonl"}),
        ("visualize", {"figures.json", "metrics.jsonl", "episode_000", "episode_001"}),
    ],
)
def test_every_run_folder_tells_its_story(pipeline: Path, stage: str, files: set[str]) -> None:
    run = run_of(pipeline, stage)
    assert {path.name for path in run.iterdir()} == {"DONE", "config.yaml", "manifest.json", "log.txt", *files}
    story = manifest(run)
    assert story["state"] == "finished" and story["stage"] == stage
    assert story["data"]["classes"] in (3, 12) and len(story["data"]["fingerprint"]) == 64  # type: ignore[index,call-overload]
    assert story["split"] and story["result"] and story["versions"]
    if stage in ("train_protonet", "fit_milr"):
        assert len(story["checkpoint"]["sha256"]) == 64  # type: ignore[index,call-overload]


def test_runs_name_their_parents(pipeline: Path) -> None:
    trained, fitted, drawn = (run_of(pipeline, stage) for stage in ("train_protonet", "fit_milr", "visualize"))
    assert manifest(fitted)["parent"]["folder"] == str(trained)  # type: ignore[index,call-overload]
    assert manifest(fitted)["parent"]["sha256"] == manifest(trained)["checkpoint"]["sha256"]  # type: ignore[index,call-overload]
    assert manifest(drawn)["parent"]["folder"] == str(fitted)  # type: ignore[index,call-overload]


def test_the_test_writes_every_episode(pipeline: Path) -> None:
    run = run_of(pipeline, "test_protonet")
    with (run / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 and all(len(row["classes"].split(";")) == 3 for row in rows)
    mean = sum(float(row["accuracy"]) for row in rows) / 40
    assert manifest(run)["result"]["accuracy"] == pytest.approx(mean, abs=1e-5)  # type: ignore[index,call-overload]


def test_the_fit_tells_its_terms_and_estimates_in_bits(pipeline: Path) -> None:
    run = run_of(pipeline, "fit_milr")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [2, 4]
    assert {"accuracy", "untouched_accuracy", "total_bits", "cap_bits", "saturation", "mask_mean"} <= lines[-1].keys()
    information = manifest(run)["result"]["information"]  # type: ignore[index,call-overload]
    assert set(information) == {"train", "validation", "novel"}
    assert all(entry["bits"] <= entry["cap_bits"] for entry in information.values())


def test_with_a_board_it_is_the_same_fit(pipeline: Path, tmp_path: Path) -> None:
    plain, trained = run_of(pipeline, "fit_milr"), run_of(pipeline, "train_protonet")
    assert cli.main(["fit-milr", f"outputs={tmp_path}", f"source={trained}", *FIT, "logger=tensorboard"]) == 0
    run = run_of(tmp_path, "fit_milr")
    assert (run / "metrics.jsonl").read_text() == (plain / "metrics.jsonl").read_text()
    assert manifest(run)["result"] == manifest(plain)["result"]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [sheet.step for sheet in events.Images("maps")] == [2, 4]
    assert {"accuracy/train", "accuracy/validation"} <= set(events.Tags()["scalars"])


def test_the_figures_and_arrays_of_an_episode(pipeline: Path) -> None:
    run = run_of(pipeline, "visualize")
    shows = json.loads((run / "figures.json").read_text())
    assert len(shows) == 16 and all((run / name).is_file() for name in shows)
    sheets = [np.array(Image.open(run / f"episode_00{number}" / "sheet.png")) for number in (0, 1)]
    assert sheets[0].std() > 10 and not np.array_equal(*sheets)
    with np.load(run / "episode_000" / "maps.npz") as maps, (run / "episode_000" / "maps.csv").open() as file:
        rows = list(csv.DictReader(file))
        assert maps["total"].shape == (6, 8, 8) and maps["images"].shape == (6, 3, 32, 32)
        assert [row["role"] for row in rows] == ["support"] * 3 + ["query"] * 3
        assert [row["species"] for row in rows] == maps["labels"].tolist()
        assert len(set(maps["labels"][:3])) == 3 and sorted(maps["labels"][:3]) == sorted(maps["labels"][3:])
        for row, total in zip(rows, maps["total"], strict=True):
            assert float(row["total_bits"]) == pytest.approx(float(total.sum()), rel=1e-3, abs=1e-3)


def call(pipeline: Path, *words: str) -> int:
    stage, *overrides = words
    return cli.main([stage, f"outputs={pipeline}", *overrides])


def error(capsys: Capture) -> str:
    """The one line that was said."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def copy(pipeline: Path, tmp_path: Path) -> Path:
    """The same outputs, to be added to or spoiled."""
    return Path(shutil.copytree(pipeline, tmp_path / "outputs"))


def test_a_users_own_pictures(copy: Path, tmp_path: Path) -> None:
    Image.new("L", (50, 40), 120).save(tmp_path / "grey.png")
    Image.effect_noise((40, 60), 90).convert("CMYK").save(tmp_path / "print.jpg")
    files = f"[{tmp_path / 'grey.png'},{tmp_path / 'print.jpg'}]"
    assert call(copy, "visualize", "source=latest", f"images={files}", "scale=image") == 0
    newest = max((copy / "visualize").iterdir(), key=lambda run: manifest(run)["created"])  # type: ignore[arg-type,return-value]
    with np.load(newest / "pictures" / "maps.npz") as maps:
        assert maps["labels"].tolist() == ["grey", "print"] and np.isfinite(maps["redundant"]).all()


@pytest.mark.parametrize("layers", ["layer2_avgpool", "layer1_layer4"])
def test_other_layer_pairs(copy: Path, layers: str) -> None:
    assert call(copy, "fit-milr", f"source={run_of(copy, 'train_protonet')}", f"layers={layers}", *FIT) == 0
    assert call(copy, "visualize", "source=latest") == 0


def test_a_sweep_over_beta_makes_one_run_for_each(copy: Path) -> None:
    source = f"source={run_of(copy, 'train_protonet')}"
    assert call(copy, "fit-milr", source, *FIT, "milr.beta=0.001,1.0", "--multirun") == 0
    (sweep,) = (copy / "fit_milr_sweeps").iterdir()
    runs = [run for run in sweep.iterdir() if run.is_dir()]
    assert len(runs) == 2 and all(manifest(run)["state"] == "finished" for run in runs)
    assert {"0.001", "1.0"} == {run.name.split("milr.beta=")[1].split(",")[0] for run in runs}


def test_the_same_seed_gives_the_same_tensors(copy: Path) -> None:
    trained = run_of(copy, "train_protonet")
    fitted = run_of(copy, "fit_milr")
    assert call(copy, "fit-milr", f"source={trained}", *FIT) == 0
    again = next(run for run in (copy / "fit_milr").iterdir() if run != fitted)
    one, other = (torch.load(run / "milr.pt", weights_only=True)["modules"] for run in (fitted, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test-protonet", "dataset.split=train"], "trained on 6 of these classes"),
        (["fit-milr", "episode.way=4"], "episode.way=4 contradicts the source run, which has episode.way=3"),
        (["fit-milr", "backbone=conv4"], "contradicts the source run"),
        (["visualize", "dataset.size=64"], "dataset.size=64 contradicts"),
        (["fit-milr", "layers.local=layer11"], "no layer 'layer11'; nearest: .*layer1"),
        (["fit-milr", "layers.local=layer4", "layers.global=layer2"], "must come after"),
        (["fit-milr", "mask.fill=zero"], "noise fill only"),
        (["fit-milr", "milr.learning_rate=1e30"], "the loss is .* at step"),
        (["visualize", "images=[/absent.jpg]"], "there is no picture /absent.jpg"),
        (["visualize", "episode.way=9"], "an episode needs 9 classes"),
        (["evaluate", "evaluate.percent=[50,20]"], "whole numbers from 1 to 99, rising"),
        (["test-protonet", "dataset=cub", "dataset.root=/absent"], "no CUB-200-2011 in /absent"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(
    copy: Path, capsys: Capture, words: list[str], message: str
) -> None:
    import re

    source = "fit_milr" if words[0] in ("visualize", "evaluate") else "train_protonet"
    assert call(copy, words[0], f"source={run_of(copy, source)}", *words[1:]) == 2
    assert re.search(message, error(capsys))
    states = [manifest(path.parent)["state"] for path in copy.glob("*/*/manifest.json")]
    assert states.count("finished") == 4


def test_seen_classes_may_be_tested_if_that_is_wanted(copy: Path) -> None:
    assert call(copy, "test-protonet", "source=latest", "dataset.split=train", "test.allow_seen=true") == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(copy: Path, capsys: Capture) -> None:
    assert call(copy, "fit-milr", "source=latest", "device=cuda") == 2
    assert "finds no CUDA" in error(capsys)


def test_a_truncated_checkpoint(copy: Path, capsys: Capture) -> None:
    checkpoint = run_of(copy, "train_protonet") / "best.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    assert call(copy, "fit-milr", "source=latest") == 2
    assert "is not the file that was saved" in error(capsys)


def test_a_module_of_another_network_is_refused(copy: Path, capsys: Capture) -> None:
    run = run_of(copy, "fit_milr")
    state = torch.load(run / "milr.pt", weights_only=True)
    assert state["fitted"] and state["network_sha256"] == manifest(run)["result"]["network_sha256"]  # type: ignore[index]
    torch.save({**state, "network_sha256": "0" * 64}, run / "milr.pt")
    content = manifest(run)
    content["checkpoint"]["sha256"] = sha256_of(run / "milr.pt")  # type: ignore[index]
    (run / "manifest.json").write_text(json.dumps(content))
    assert call(copy, "visualize", "source=latest") == 2
    said = error(capsys)
    assert "fitted on another network (sha256 of its weights 000000000000" in said
    assert f"milr fit-milr source={content['parent']['folder']}" in said  # type: ignore[index]


def test_a_diverging_training_keeps_its_last_good_state(birds: Catalogue, tmp_path: Path, capsys: Capture) -> None:
    words = [f"dataset.root={birds.root}", *DRAWN, *TRAIN, "train.optimizer=sgd", "train.learning_rate=1e30"]
    assert call(tmp_path, "train-protonet", *words) == 2
    assert "the loss is" in error(capsys)
    run = run_of(tmp_path, "train_protonet")
    assert manifest(run)["state"] == "failed" and "the loss is" in str(manifest(run)["error"])
    weights = torch.load(run / "best.pt", weights_only=True)["weights"]
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_a_diverging_fit_keeps_its_last_good_state(copy: Path, capsys: Capture) -> None:
    fitted = run_of(copy, "fit_milr")
    assert call(copy, "fit-milr", "source=latest", *FIT, "milr.learning_rate=1e30") == 2
    assert "the loss is" in error(capsys)
    failed = next(run for run in (copy / "fit_milr").iterdir() if run != fitted)
    assert manifest(failed)["state"] == "failed" and manifest(failed)["checkpoint"] is None
    modules = torch.load(failed / "milr.pt", weights_only=True)["modules"]
    assert all(torch.isfinite(value).all() for value in modules.values())


def test_photographs_run_through_all_stages(shared: Path, tmp_path: Path) -> None:
    crops = ["dataset=cub", f"dataset.root={shared / 'cub-crops'}"]
    assert call(tmp_path, "train-protonet", *crops, *TRAIN, "train.episodes=0") == 0
    assert call(tmp_path, "fit-milr", "source=latest", *FIT) == 0
    frames = ["dataset=cub", f"dataset.root={shared / 'cub-frames'}", "dataset.split=all"]
    assert call(tmp_path, "visualize", "source=latest", *frames) == 0
    assert manifest(run_of(tmp_path, "visualize"))["data"]["images"] == 370  # type: ignore[index,call-overload]


def test_the_maps_are_measured_beside_controls(copy: Path, capsys: Capture) -> None:
    words = ["source=latest", "evaluate.episodes=2", "evaluate.percent=[20,60]", "evaluate.pixel_percent=[20,50,70]"]
    assert call(copy, "evaluate", *words) == 0
    assert "area, accuracy" in capsys.readouterr().out
    run = run_of(copy, "evaluate")
    names = {path.name for path in run.iterdir()}
    assert {"results.csv", "paired.csv", "per_image.csv", "sheet_first.png", "sheet_worst.png"} <= names
    assert {"curves_accuracy.png", "bars_decision.png", "bars_location.png", "parts_percentile.png"} <= names
    with (run / "results.csv").open() as file:
        results = {(row["map"], row["metric"]): row for row in csv.DictReader(file)}
    maps = {name for name, _ in results}
    assert maps == {*KINDS, *CONTROLS, *BASELINES}
    assert len({results[name, "untouched, accuracy"]["value"] for name in maps}) == 1
    pointing = results["decision", "pointing, defining"]
    assert int(pointing["n"]) == 18 and float(pointing["low"]) <= float(pointing["value"]) <= float(pointing["high"])
    assert (
        int(results["total", "keep 20%, accuracy"]["n"]) == 12 and int(results["total", "keep 20%, cosine"]["n"]) == 18
    )
    with (run / "per_image.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if (row["map"], row["metric"]) == ("random", "remove 60%, accuracy")
        ]
    assert sum(float(row["value"]) for row in rows) / len(rows) == pytest.approx(
        float(results["random", "remove 60%, accuracy"]["value"])
    )
    assert manifest(run)["result"]["decision_area"] == float(results["decision", "area, accuracy"]["value"])  # type: ignore[index,call-overload]
    with (run / "paired.csv").open() as file:
        (row,) = [r for r in csv.DictReader(file) if (r["map"], r["other"], r["metric"]) == PAIR]
    values = (float(results[name, "area, accuracy"]["value"]) for name in PAIR[:2])
    assert float(row["difference"]) == pytest.approx(next(values) - next(values))


def test_without_captum_or_marks_the_rest_is_measured(
    copy: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4 * 4):
        path = tmp_path / "birds" / f"class {number // 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 60 + number).save(path)
    monkeypatch.setattr("milr.stages.evaluate.find_spec", lambda name: None)
    folder = ["dataset=folder", f"dataset.root={tmp_path / 'birds'}", "dataset.split=all"]
    words = [*folder, "evaluate.percent=[20,60]", "evaluate.pixel_percent=[]", "evaluate.episodes=1"]
    words += ["evaluate.baselines=[grad_cam,occlusion]"]
    assert call(copy, "evaluate", "source=latest", *words) == 0
    told = capsys.readouterr()
    assert "captum is not installed: occlusion" in told.out + told.err
    assert "no parts" in told.out and "nothing is marked" in told.out
    run = max((copy / "evaluate").iterdir(), key=lambda run: run.stat().st_mtime)
    with (run / "results.csv").open() as file:
        maps = {row["map"] for row in csv.DictReader(file)}
        file.seek(0)
        assert "pixels" not in file.read()
    assert maps == {*KINDS, *CONTROLS, "grad_cam"} and not (run / "bars_location.png").exists()


def test_sanity_refits_and_compares(copy: Path, capsys: Capture) -> None:
    words = ["sanity.images=6", "sanity.seeds=2", "sanity.cascade=[1,6]", "sanity.estimator_steps=20"]
    assert call(copy, "sanity", "source=latest", *words) == 0
    run = run_of(copy, "sanity")
    with (run / "sanity.csv").open() as file:
        rows = list(csv.DictReader(file))
    variants = {row["variant"] for row in rows if row["check"] != "estimator"}
    assert variants == {"seed 1", "support labels permuted", "random layer4", "random all"}
    assert len([row for row in rows if row["check"] != "estimator"]) == 4 * 3
    null = next(float(row["value"]) for row in rows if row["variant"].startswith("null"))
    assert abs(null) < 0.3
    assert all((run / f"sheet_{kind}.png").is_file() for kind in KINDS)
    assert manifest(run)["result"]["decision_repeatability"] <= 1  # type: ignore[index,call-overload]
    capsys.readouterr()
    assert manifest(run)["data"] and manifest(run)["split"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(rows)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sanity.checks=[seed]", "choose among estimator, seeds, labels, cascade"),
        ("sanity.checks=[]", "choose among estimator, seeds, labels, cascade"),
        ("sanity.cascade=[0,6]", "at least one layer must forget"),
    ],
)
def test_sanity_refuses_what_would_check_nothing(copy: Path, override: str, message: str, capsys: Capture) -> None:
    assert call(copy, "sanity", "source=latest", override) == 2
    assert message in error(capsys)


TINY = [*FIT, "milr.steps=2"]


def test_a_sweep_gets_its_report(copy: Path, capsys: Capture) -> None:
    sweep = copy / "sweep"
    words = ["source=latest", *TINY, f"hydra.sweep.dir={sweep}", "milr.alpha=0,1", "milr.beta=0.1,-1"]
    assert call(copy, "fit-milr", "--multirun", *words) == 2
    assert "4 jobs: 2 done, 2 failed" in capsys.readouterr().out
    assert cli.main(["sweep-report", str(sweep)]) == 0
    assert "accuracy_kept" in capsys.readouterr().out
    with (sweep / "report" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    done = {float(row["alpha"]): row for row in rows if row["state"] == "finished"}
    assert set(done) == {0.0, 1.0} and len(rows) == 4
    assert all("milr.beta=-1" in row["error"] for row in rows if row["state"] == "failed")
    fitted = manifest(next(sweep.glob("*alpha=1,milr.beta=0.1*")))["result"]["validation"]  # type: ignore[index,call-overload]
    kept = fitted["accuracy"] / fitted["untouched_accuracy"]
    assert float(done[1.0]["accuracy_kept"]) == pytest.approx(kept, abs=1e-6)
    for name in ("alpha_beta", "along_beta", "maps_decision", "maps_total", "maps_redundant"):
        assert np.array(Image.open(sweep / "report" / f"{name}.png")).std() > 10


def test_a_folder_that_is_no_sweep_has_no_report(copy: Path, capsys: Capture) -> None:
    assert cli.main(["sweep-report", str(run_of(copy, "fit_milr"))]) == 2
    assert "is one run" in error(capsys)


@pytest.mark.filterwarnings("default")
def test_optuna_minimises_what_a_fit_returns(copy: Path, capsys: Capture) -> None:
    pytest.importorskip("optuna")
    sweep = copy / "study"
    words = ["source=latest", *TINY, f"hydra.sweep.dir={sweep}", "milr.learning_rate=tag(log,interval(0.0001,0.01))"]
    study = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"]
    study += ["hydra.sweeper.sampler.seed=0", "--multirun"]
    assert call(copy, "fit-milr", *words, *study) == 0
    found = {float(str(manifest(path.parent)["objective"])) for path in sweep.glob("*/manifest.json")}
    best = OmegaConf.load(sweep / "optimization_results.yaml")
    assert len(found) == 3 and best.best_value == min(found)
    capsys.readouterr()
    assert call(copy, "fit-milr", *words, *study) == 0  # the same trials, since skipped ones return what they returned
    assert "3 jobs: 3 skipped" in capsys.readouterr().out
    assert OmegaConf.load(sweep / "optimization_results.yaml") == best


@pytest.mark.filterwarnings("default")
def test_two_jobs_at_once_write_two_folders_and_the_exit_code_is_of_both(copy: Path, capsys: Capture) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    sweep = copy / "both"
    words = ["source=latest", *TINY, f"hydra.sweep.dir={sweep}", "milr.beta=0.1,-1,0.2", "--multirun"]
    assert call(copy, "fit-milr", *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2") == 2
    assert "3 jobs: 2 done, 1 failed" in capsys.readouterr().out
    assert [manifest(path.parent)["state"] for path in sweep.glob("*/manifest.json")] == ["finished"] * 2


def worker_of(sweep: subprocess.Popen[str]) -> int:
    """The number of one of joblib's processes that carry out the jobs."""
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
    return next(int(child) for child in children if "LokyProcess" in Path(f"/proc/{child}/cmdline").read_text())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the processes in /proc")
def test_a_killed_worker_stops_the_sweep_in_one_line_and_the_same_command_goes_on(copy: Path, capsys: Capture) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    sweep = copy / "killed"
    words = ["fit-milr", f"outputs={copy}", "source=latest", *TINY, "milr.steps=10"]
    words += ["milr.save_every=1", "milr.log_every=1", "milr.beta=0.1,0.2", f"hydra.sweep.dir={sweep}", "--multirun"]
    command = [sys.executable, "-m", "milr", *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not list(sweep.glob("*/state-*.pt")):
            time.sleep(0.01)
        os.kill(worker_of(running), signal.SIGKILL)
        _, told = running.communicate(timeout=120)
    assert running.returncode == 2 and "Traceback" not in told
    assert "error: a process of the sweep was killed" in told and "the same command goes on" in told

    assert cli.main(words) == 0
    assert "resumed" in capsys.readouterr().out
    steps = [path.read_text().count('"train"') for path in sweep.glob("*/metrics.jsonl")]
    assert steps == [10, 10]  # each once
