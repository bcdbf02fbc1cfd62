"""The measures and the checks of maps, through the command line, on the networks of the other stages."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small import Capture, call, error, manifest, run_of

from milr.baselines.methods import BASELINES, CONTROLS, KINDS
from milr.data.pictures import read_mask
from milr.evaluation import regions
from milr.stages.explainers import method_of

PAIR = ("decision", "random", "area, accuracy")


def test_the_maps_are_measured_beside_controls(copy: Path, capsys: Capture) -> None:
    words = ["source=latest", "evaluate.episodes=1", "evaluate.percent=[20,60]", "evaluate.pixel_percent=[20,70]"]
    words += ["evaluate.sheet_rows=2", "episode.query=1"]
    assert call(copy, "evaluate", *words) == 0
    assert "area, accuracy" in capsys.readouterr().out
    run = run_of(copy, "evaluate")
    names = {path.name for path in run.iterdir()}
    assert {"results.csv", "paired.csv", "per_image.csv", "sheet_first.png", "sheet_worst.png"} <= names
    assert {"curves_accuracy.png", "bars_decision.png", "bars_location.png", "parts_percentile.png"} <= names
    with (run / "results.csv").open() as file:
        results = {(row["map"], row["metric"]): row for row in csv.DictReader(file)}
    maps = {name for name, _ in results}
    assert maps == {*KINDS, *CONTROLS, *BASELINES} - {"attention_rollout", "refined"}  # no attention; not by default
    assert len({results[name, "untouched, accuracy"]["value"] for name in maps}) == 1
    pointing = results["decision", "pointing, defining"]
    assert int(pointing["n"]) == 6 and float(pointing["low"]) <= float(pointing["value"]) <= float(pointing["high"])
    assert int(results["total", "keep 20%, accuracy"]["n"]) == 3 and int(results["total", "keep 20%, cosine"]["n"]) == 6
    with (run / "per_image.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if (row["map"], row["metric"]) == ("random", "remove 60%, accuracy")
        ]
    assert sum(float(row["value"]) for row in rows) / len(rows) == pytest.approx(
        float(results["random", "remove 60%, accuracy"]["value"])
    )
    assert manifest(run)["result"]["decision_area"] == float(results["decision", "area, accuracy"]["value"])
    with (run / "paired.csv").open() as file:
        (row,) = [r for r in csv.DictReader(file) if (r["map"], r["other"], r["metric"]) == PAIR]
    values = (float(results[name, "area, accuracy"]["value"]) for name in PAIR[:2])
    assert float(row["difference"]) == pytest.approx(next(values) - next(values))


def test_fits_with_other_seeds_are_measured_on_the_same_episodes(
    copy: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other fit is the first one under another seed: every number of it must be the same."""
    fitted, read = run_of(copy, "fit_milr"), list[Path]()
    other = Path(shutil.copytree(fitted, copy / "fit_milr_sweeps" / "seeds" / "seed=7"))
    same = Path(shutil.copytree(fitted, copy / "same"))
    config, entries = (fitted / "config.yaml").read_text(), manifest(fitted)
    (other / "config.yaml").write_text(config.replace("seed: 0", "seed: 7", 1))
    (other / "manifest.json").write_text(json.dumps({**entries, "settings": {**entries["settings"], "seed": 7}}))

    def noted(file: Path) -> Image.Image:
        read.append(file)
        return read_mask(file)

    monkeypatch.setattr(regions, "read_mask", noted)
    words = ["source=latest", "evaluate.percent=[20,60]", "evaluate.pixel_percent=[]", "evaluate.baselines=[refined]"]
    words += ["evaluate.episodes=1", "evaluate.sheet_rows=1", "episode.query=1", "evaluate.refine=1"]
    words += ["evaluate.fills=[blur]"]
    assert call(copy, "evaluate", *words, f"evaluate.sources=[{other.parent}]") == 0
    assert len(read) == len(set(read)) == 6 * 2  # the outline and the defining parts of each picture, once
    run = run_of(copy, "evaluate")
    assert [fit["seed"] for fit in manifest(run)["fits"]] == [0, 7]
    with (run / "per_image.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "keep 20%, accuracy (blur)"]
    values = {(row["map"], row["fit"], row["file"]): row["value"] for row in rows}
    assert {(name, fit) for name, fit, _ in values} >= {("decision", "7"), ("refined", "7"), ("random", "0")}
    assert not any((name, fit) == ("random", "7") for name, fit, _ in values)
    assert all(values[name, "0", file] == value for (name, fit, file), value in values.items())
    with (run / "results.csv").open() as file:
        fits = {row["map"]: row["fits"] for row in csv.DictReader(file)}
    assert (fits["decision"], fits["refined"], fits["edges"]) == ("2", "2", "1")
    with (run / "paired.csv").open() as file:
        pairs = {(row["map"], row["other"]) for row in csv.DictReader(file)}
    assert {("decision", "refined"), ("refined", "random"), ("refined", "decision")} <= pairs
    capsys.readouterr()
    saved = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(re.sub(r"(?m)^(  beta:) .*$", r"\1 99.0", saved, count=1))
    assert call(copy, "evaluate", *words, f"evaluate.sources=[{other.parent}]") == 2
    assert "has milr.beta=99.0, and" in error(capsys)
    assert call(copy, "evaluate", *words, f"evaluate.sources=[{same}]") == 2
    assert "have both seed=0: leave one" in error(capsys)
    assert call(copy, "evaluate", *words, f"evaluate.sources=[{copy / 'nothing'}]") == 2
    assert "no run folder, and no sweep with a finished run" in error(capsys)


def test_without_captum_or_marks_the_rest_is_measured(
    copy: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4 * 4):
        path = tmp_path / "birds" / f"class {number // 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 60 + number).save(path)
    monkeypatch.setattr("milr.baselines.choice.find_spec", lambda name: None)
    folder = ["dataset=folder", f"dataset.root={tmp_path / 'birds'}", "dataset.split=all"]
    words = [*folder, "evaluate.percent=[20,60]", "evaluate.pixel_percent=[]", "evaluate.episodes=1"]
    words += ["evaluate.baselines=[grad_cam,occlusion,lrp]", "evaluate.sheet_rows=2", "format=svg", "colours=turbo"]
    assert call(copy, "evaluate", "source=latest", *words) == 0
    told = capsys.readouterr()
    assert "captum is not installed: occlusion" in told.out + told.err
    assert "zennit is not installed: lrp" in told.out + told.err
    assert "no parts" in told.out and "nothing is marked" in told.out
    run = max((copy / "evaluate").iterdir(), key=lambda run: run.stat().st_mtime)
    with (run / "results.csv").open() as file:
        maps = {row["map"] for row in csv.DictReader(file)}
        file.seek(0)
        assert "pixels" not in file.read()
    assert maps == {*KINDS, *CONTROLS, "grad_cam"} and not (run / "bars_location.svg").exists()
    assert (run / "sheet_first.svg").is_file() and not [*run.glob("*.png")]


def test_sanity_refits_and_compares(copy: Path, capsys: Capture) -> None:
    words = ["sanity.images=6", "sanity.seeds=2", "sanity.cascade=[6]"]
    assert call(copy, "sanity", "source=latest", *words) == 0
    run = run_of(copy, "sanity")
    with (run / "sanity.csv").open() as file:
        rows = list(csv.DictReader(file))
    variants = {row["variant"] for row in rows if row["check"] != "estimator"}
    assert variants == {"seed 1", "support labels permuted", "random all"}
    assert len([row for row in rows if row["check"] != "estimator"]) == 3 * len(KINDS)
    null = next(float(row["value"]) for row in rows if row["variant"].startswith("null"))
    assert abs(null) < 0.3
    assert all((run / f"sheet_{kind}.png").is_file() for kind in KINDS)
    assert manifest(run)["result"]["decision_repeatability"] <= 1
    capsys.readouterr()
    assert manifest(run)["data"] and manifest(run)["split"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(rows)


def test_sanity_asks_whether_the_masks_are_honest(copy: Path) -> None:
    words = ["sanity.checks=[mask_only,judge,fill]", "sanity.images=4", "sanity.episodes=2", "sanity.percent=[20,60]"]
    assert call(copy, "sanity", "source=latest", *words, "sanity.judge_steps=2", "sanity.baselines=[grad_cam]") == 0
    run = run_of(copy, "sanity")
    with (run / "sanity.csv").open() as file:
        rows = {(row["check"], row["variant"], row["map"], row["measure"]): row for row in csv.DictReader(file)}
    told = {map for check, variant, map, _ in rows if (check, variant) == ("mask_only", "random shape")}
    assert told == {"mask", "decision", "grad_cam", "activation", "edges"}
    chance = rows["mask_only", "chance", "", "accuracy"]
    assert float(chance["value"]) == pytest.approx(1 / 6) and int(chance["n"]) == 6 * 8  # all of the known classes
    assert ("mask_only", "as it is", "outline: defining", "accuracy") in rows
    areas = {(check, variant) for check, variant, map, measure in rows if (map, measure) == ("grad_cam", "area")}
    ways = {"judge": ["network", "judge", "network - judge"], "fill": ["noise", "mean", "blur"]}
    ways["fill"] += ["noise - mean", "noise - blur"]
    assert areas == {(check, variant) for check, variants in ways.items() for variant in variants}
    assert rows["judge", "network", "grad_cam", "area"]["value"] == rows["fill", "noise", "grad_cam", "area"]["value"]
    assert ("fill", "noise and blur", "all maps", "same first places") in rows
    assert all((run / f"{check}.png").is_file() for check in ("mask_only", "judge", "fill"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sanity.baselines=[no_cam]", "sanity.baselines=['no_cam']: choose among grad_cam"),
        ("sanity.percent=[50]", "sanity.percent=[50.0]: two or more"),
        ("sanity.checks=[seed]", "choose among estimator, seeds, labels, cascade"),
        ("sanity.checks=[]", "choose among estimator, seeds, labels, cascade"),
        ("width=column sanity.cascade=[1,2,3,4,5,6]", "11 pictures side by side do not fit width=column"),
        ("sanity.cascade=[0,6]", "each number of randomised layers is at least 1"),
    ],
)
def test_sanity_refuses_what_would_check_nothing(copy: Path, override: str, message: str, capsys: Capture) -> None:
    assert call(copy, "sanity", "source=latest", *override.split()) == 2
    assert message in error(capsys)


def test_where_a_fits_features_lay_is_no_part_of_its_method() -> None:
    def method(**infomax: object) -> dict[str, object]:
        return method_of({"infomax": infomax, "milr": {"alpha": 1.0}})

    assert method(memory_gib=2.0, width=4) == method(memory_gib=0.5, width=4) != method(width=8)
