"""The stages one after the other on drawn birds, through the command line, and what they do with bad input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import DRAWN, FIT, TRAIN, Capture, call, error, manifest, run_of
from states import states_equal
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from milr import cli
from milr.data.records import Catalogue
from milr.figures.figures import ROWS
from milr.files import sha256_of


@pytest.mark.parametrize(
    ("stage", "files"),
    [
        ("train_protonet", {"best.pt", "metrics.jsonl"}),
        ("test_protonet", {"episodes.csv", "metrics.jsonl"}),
        ("fit_milr", {"milr.pt", "metrics.jsonl"}),
        ("visualize", {"figures.json", "metrics.jsonl", "episode_000"}),
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
    assert manifest(fitted)["parent"]["folder"] == str(trained)
    assert manifest(fitted)["parent"]["sha256"] == manifest(trained)["checkpoint"]["sha256"]
    assert manifest(drawn)["parent"]["folder"] == str(fitted)


def test_the_test_writes_every_episode(pipeline: Path) -> None:
    run = run_of(pipeline, "test_protonet")
    with (run / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 and all(len(row["classes"].split(";")) == 3 for row in rows)
    mean = sum(float(row["accuracy"]) for row in rows) / 40
    assert manifest(run)["result"]["accuracy"] == pytest.approx(mean, abs=1e-5)


def test_the_fit_tells_its_terms_and_estimates_in_bits(pipeline: Path) -> None:
    run = run_of(pipeline, "fit_milr")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [1, 2]
    of_mask = [line for line in lines if line["split"] == "validation"]
    terms = {"accuracy", "untouched_accuracy", "total_bits", "cap_bits", "saturation", "mask_mean"}
    assert all(terms <= line.keys() for line in of_mask)
    assert not any("redundant_bits" in line for line in lines)  # the critic has not met what the mask lets pass
    assert "redundant_bits" in manifest(run)["result"]["validation"]
    of_critic = [(line["phase"], line["step"]) for line in lines if line["split"] == "held_out"]
    assert of_critic == [("critic", 1), ("critic", 2), ("pairs", 1), ("pairs", 2)]
    information = manifest(run)["result"]["information"]
    assert set(information) == {"train", "validation", "novel"}
    assert all(entry["bits"] <= entry["cap_bits"] for entry in information.values())
    log = (run / "log.txt").read_text()
    assert re.search(r"total information, novel species: .* of the cap of [\d.]+ \(\d+ images, each among \d+\)", log)
    bank = manifest(run)["result"]["map_cap_bits"]
    ended = {phase: manifest(run)["result"][phase]["steps"] for phase in ("critic", "mask", "pairs")}
    assert ended == {"critic": 2, "mask": 2, "pairs": 2}
    among = f"each image is identified among {2**bank:.0f}, itself and the fit's bank"
    assert f"maps have another cap, {bank:.2f}: {among}" in log


def test_with_a_board_it_is_the_same_fit(pipeline: Path, tmp_path: Path) -> None:
    plain, trained = run_of(pipeline, "fit_milr"), run_of(pipeline, "train_protonet")
    assert cli.main(["fit-milr", f"outputs={tmp_path}", f"source={trained}", *FIT, "logger=tensorboard"]) == 0
    run = run_of(tmp_path, "fit_milr")
    assert (run / "metrics.jsonl").read_text() == (plain / "metrics.jsonl").read_text()
    assert manifest(run)["result"] == manifest(plain)["result"]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [sheet.step for sheet in events.Images("maps")] == [1, 2]
    assert {"accuracy/train", "accuracy/validation"} <= set(events.Tags()["scalars"])


def test_the_figures_and_arrays_of_an_episode(pipeline: Path) -> None:
    run = run_of(pipeline, "visualize")
    shows = json.loads((run / "figures.json").read_text())
    assert len(shows) == len(ROWS) + 4  # a sheet, maps.npz, maps.csv and decisions.csv beside them
    assert all((run / name).is_file() for name in shows)
    assert np.array(Image.open(run / "episode_000" / "sheet.png")).std() > 10
    with np.load(run / "episode_000" / "maps.npz") as maps, (run / "episode_000" / "maps.csv").open() as file:
        rows = list(csv.DictReader(file))
        assert maps["total"].shape == (6, 8, 8) and maps["images"].shape == (6, 3, 32, 32)
        assert [row["role"] for row in rows] == ["support"] * 3 + ["query"] * 3
        assert [row["name"] for row in rows] == maps["labels"].tolist()
        assert all(bool(row["masked_predicted"]) == (row["role"] == "query") for row in rows)
        for row in rows[3:]:
            assert row["masked_right"] == str(row["masked_predicted"] == row["name"])
            assert float(row["masked_share"]) in (0.25, 0.5, 0.75, 1)  # of four draws
        assert len(set(maps["labels"][:3])) == 3 and sorted(maps["labels"][:3]) == sorted(maps["labels"][3:])
        for row, total in zip(rows, maps["total"], strict=True):
            assert float(row["total_bits"]) == pytest.approx(float(total.sum()), rel=1e-3, abs=1e-3)


def test_a_users_own_pictures(copy: Path, tmp_path: Path) -> None:
    Image.new("L", (50, 40), 120).save(tmp_path / "grey.png")
    Image.effect_noise((40, 60), 90).convert("CMYK").save(tmp_path / "print.jpg")
    files = f"[{tmp_path / 'grey.png'},{tmp_path / 'print.jpg'}]"
    assert call(copy, "visualize", "source=latest", f"images={files}", "scale=image") == 0
    newest = max((copy / "visualize").iterdir(), key=lambda run: manifest(run)["created"])
    with np.load(newest / "pictures" / "maps.npz") as maps:
        assert maps["labels"].tolist() == ["grey", "print"] and np.isfinite(maps["redundant"]).all()
    with (newest / "pictures" / "maps.csv").open() as file:
        assert [row["masked_predicted"] for row in csv.DictReader(file)] == ["", ""]  # nothing is decided about them


def test_masks_refined_for_the_pictures_that_are_drawn(copy: Path, capsys: Capture) -> None:
    plain = run_of(copy, "visualize")
    assert call(copy, "visualize", "source=latest", "visualize.refine=3") == 0
    refined = max((copy / "visualize").iterdir(), key=lambda run: manifest(run)["created"])
    with np.load(plain / "episode_000" / "maps.npz") as before, np.load(refined / "episode_000" / "maps.npz") as after:
        assert np.allclose(before["total"], after["total"]) and not np.allclose(before["decision"], after["decision"])
    assert manifest(refined)["result"]["refine"] == 3
    capsys.readouterr()
    assert call(copy, "visualize", "source=latest", "visualize.refine=3", "images=[/a.jpg]") == 2
    assert "your own pictures (images=) are in no episode" in error(capsys)


@pytest.mark.parametrize("layers", ["layer2_avgpool", "layer1_layer4"])
def test_other_layer_pairs(copy: Path, layers: str) -> None:
    assert call(copy, "fit-milr", f"source={run_of(copy, 'train_protonet')}", f"layers={layers}", *FIT) == 0
    if layers == "layer1_layer4":
        assert call(copy, "visualize", "source=latest") == 0


def test_the_same_seed_gives_the_same_tensors(copy: Path) -> None:
    trained = run_of(copy, "train_protonet")
    fitted = run_of(copy, "fit_milr")
    assert call(copy, "fit-milr", f"source={trained}", *FIT) == 0
    again = next(run for run in (copy / "fit_milr").iterdir() if run != fitted)
    one, other = (torch.load(run / "milr.pt", weights_only=True)["modules"] for run in (fitted, again))
    assert states_equal(one, other)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test-protonet", "dataset.split=train"], "trained on 6 of these classes"),
        (["fit-milr", "episode.way=4"], "episode.way=4 contradicts the source run, which has episode.way=3"),
        (["fit-milr", "backbone=conv4"], "contradicts the source run"),
        (["visualize", "dataset.size=64"], "dataset.size=64 contradicts"),
        (["fit-milr", "layers.local=layer11"], "no layer 'layer11'; nearest: .*layer1"),
        (["fit-milr", "layers.local=layer4", "layers.z=layer2"], "must be a later layer"),
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
    source = "fit_milr" if words[0] in ("visualize", "evaluate") else "train_protonet"
    assert call(copy, words[0], f"source={run_of(copy, source)}", *words[1:]) == 2
    assert re.search(message, error(capsys))
    states = [manifest(path.parent)["state"] for path in copy.glob("*/*/manifest.json")]
    assert states.count("finished") == 4


def test_seen_classes_may_be_tested_if_that_is_wanted(copy: Path) -> None:
    assert call(copy, "test-protonet", "source=latest", "dataset.split=train", "test.allow_seen=true") == 0


def test_pictures_may_be_tested_by_several_views(copy: Path) -> None:
    assert call(copy, "test-protonet", "source=latest", "test.episodes=40", "test.mirror=true", "test.zoom=true") == 0
    alone, by_views = [manifest(run)["result"] for run in sorted((copy / "test_protonet").iterdir())]
    assert alone != by_views


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
    assert state["fitted"] and state["network_sha256"] == manifest(run)["result"]["network_sha256"]
    torch.save({**state, "network_sha256": "0" * 64}, run / "milr.pt")
    content = manifest(run)
    content["checkpoint"]["sha256"] = sha256_of(run / "milr.pt")  # type: ignore[index]
    (run / "manifest.json").write_text(json.dumps(content))
    assert call(copy, "visualize", "source=latest") == 2
    said = error(capsys)
    assert "fitted on another network (sha256 of its weights 000000000000" in said
    assert f"milr fit-milr source={run_of(copy, 'train_protonet')}" in said  # the copy's own parent


def test_a_diverging_training_keeps_its_last_good_state(birds: Catalogue, tmp_path: Path, capsys: Capture) -> None:
    words = [f"dataset.root={birds.root}", *DRAWN, *TRAIN, "train.optimizer=sgd", "train.learning_rate=1e30"]
    words += [
        "train.batch_norm=train",
        "train.episodes=4",
        "train.validate_every=2",
    ]  # it breaks before the first validation
    assert call(tmp_path, "train-protonet", *words) == 2
    assert "the loss is" in error(capsys)
    run = run_of(tmp_path, "train_protonet")
    assert manifest(run)["state"] == "failed" and "the loss is" in str(manifest(run)["error"])
    weights = torch.load(run / "best.pt", weights_only=True)["weights"]
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_a_diverging_fit_keeps_its_last_good_state(copy: Path, capsys: Capture) -> None:
    fitted = run_of(copy, "fit_milr")
    words = [*FIT, "milr.steps=4", "milr.validate_every=2", "milr.learning_rate=1e30"]
    assert call(copy, "fit-milr", "source=latest", *words) == 2
    assert "the loss is" in error(capsys)
    failed = next(run for run in (copy / "fit_milr").iterdir() if run != fitted)
    assert manifest(failed)["state"] == "failed" and manifest(failed)["checkpoint"] is None
    modules = torch.load(failed / "milr.pt", weights_only=True)["modules"]
    assert all(torch.isfinite(value).all() for value in modules.values())


def test_photographs_run_through_all_stages(shared: Path, tmp_path: Path) -> None:
    crops = ["dataset=cub", f"dataset.root={shared / 'cub-crops'}", "dataset.size=32"]
    assert call(tmp_path, "train-protonet", *crops, *TRAIN, "train.episodes=0") == 0
    assert call(tmp_path, "fit-milr", "source=latest", *FIT) == 0
    frames = ["dataset=cub", f"dataset.root={shared / 'cub-frames'}", "dataset.split=all"]
    assert call(tmp_path, "visualize", "source=latest", *frames) == 0
    assert manifest(run_of(tmp_path, "visualize"))["data"]["images"] == 370
