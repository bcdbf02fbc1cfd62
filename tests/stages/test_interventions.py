"""`milr interventions` through the command line, on the networks of the other stages."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from funny import make_funnybirds
from PIL import Image
from small import FIT, Capture, call, error, manifest, run_of

from milr.baselines.methods import CONTROLS, KINDS
from milr.data.synthetic import read_synthetic
from milr.decisions.settings import DecisionSettings
from milr.networks.settings import MetricSettings
from milr.stages.interventions import Bench, contrast_episodes

FEW = ["interventions.episodes=1", "interventions.validation_episodes=1", "interventions.contrasts=2"]


def test_every_map_is_held_against_pictures_without_parts(copy: Path, capsys: Capture) -> None:
    words = ["source=latest", *FEW, "interventions.baselines=[refined,grad_cam]", "episode.query=1"]
    assert call(copy, "interventions", *words) == 0
    assert "background independence" in capsys.readouterr().out
    run = run_of(copy, "interventions")
    with (run / "results.csv").open() as file:
        results = {(row["map"], row["metric"]): row for row in csv.DictReader(file)}
    assert {name for name, _ in results} == {*KINDS, *CONTROLS, "refined", "grad_cam"}
    for name in ("decision", "refined"):
        own, best = (
            float(results[name, f"completeness, {which}"]["value"])
            for which in ("threshold of validation", "best threshold")
        )
        assert 0 <= own <= best + 1e-9 <= 1 + 1e-9
        correct = results[name, "correctness, logit"]
        assert float(correct["low"]) <= float(correct["value"]) <= float(correct["high"])
    assert 0 <= float(results["total", "mass, head"]["value"]) <= 1
    with (run / "parts.csv").open() as file:
        parts = {(row["parts"], row["quantity"]) for row in csv.DictReader(file)}
    assert {("head", "mask"), ("head + wing bar", "log probability lost"), ("feet", "decision changed")} <= parts
    result = manifest(run)["result"]
    assert result["decision_correctness"] == float(results["decision", "correctness, logit"]["value"])  # type: ignore[index,call-overload]
    assert 0 <= result["background_independence"] <= 1 and result["pictures"] == 3  # type: ignore[index,call-overload]
    assert (run / "interventions.png").is_file()


def test_data_without_interventions_is_refused(copy: Path, tmp_path: Path, capsys: Capture) -> None:
    for number in range(4):
        path = tmp_path / "birds" / f"class {number // 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 60 + number).save(path)
    words = ["dataset=folder", f"dataset.root={tmp_path / 'birds'}", "dataset.split=all"]
    assert call(copy, "interventions", "source=latest", *words) == 2
    assert "dataset=folder has no pictures without parts" in error(capsys)


@pytest.mark.slow
def test_funnybirds_by_one_command(tmp_path: Path, capsys: Capture) -> None:
    """Its test pictures, classes among which a linear head decides, and no thresholds but the published way's."""
    folder, out = make_funnybirds(tmp_path / "FunnyBirds", size=32, test=3), tmp_path / "outputs"
    data = ["dataset=funnybirds", f"dataset.root={folder}", "dataset.size=32", "backbone=resnet10", "device=cpu"]
    ask = ["decision=classes", "decision.classes=all", "decision.head=linear", "decision.images=4", "source=none"]
    assert call(out, "fit-milr", *data, *ask, *FIT) == 0
    assert call(out, "interventions", "source=latest", *FEW, "interventions.baselines=[grad_cam]") == 0
    assert "no thresholds are chosen on validation pictures" in capsys.readouterr().out
    run = run_of(out, "interventions")
    with (run / "results.csv").open() as file:
        metrics = {row["metric"] for row in csv.DictReader(file)}
    assert "completeness, best threshold" in metrics and "completeness, threshold of validation" not in metrics
    assert manifest(run)["result"]["pictures"] == 4


def test_an_episode_of_contrast_has_two_classes_that_share_other_parts(tmp_path: Path) -> None:
    catalogue = read_synthetic(tmp_path / "five", 60, 3, 16, 0, "five")
    birds = catalogue.interventions
    assert birds is not None
    settings = SimpleNamespace(
        seed=0,
        episode=SimpleNamespace(shot=1, query=2),
        dataset=SimpleNamespace(split="validation"),
        interventions=SimpleNamespace(contrasts=4),
    )
    network = SimpleNamespace(metric=MetricSettings(), mean=None)
    decision = SimpleNamespace(section=DecisionSettings(), catalogue=catalogue, network=network)
    subject = SimpleNamespace(interventions=birds)
    bench = cast(Bench, SimpleNamespace(settings=settings, decision=decision, subject=subject))
    drawn = list(contrast_episodes(bench))
    assert len(drawn) == 4
    for _, records, _, contrasts in drawn:
        own, one, other = (birds.look_of(record) for record in records[:3])
        assert [record.class_id for record in records[3:]] == [records[0].class_id] * 2
        assert all(record.class_id % 4 == 2 for record in records) and len({r.path for r in records}) == 5
        contrast = contrasts[0]
        assert contrast is not None and contrast.classes == (1, 2)
        for look, parts in zip((one, other), contrast.shared, strict=True):
            assert {part for part in range(5) if look[part] == own[part]} == parts and len(parts) == 2
        assert not contrast.shared[0] & contrast.shared[1]
