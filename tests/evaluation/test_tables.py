"""Means, intervals and files of measurements."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from milr.errors import MilrError
from milr.evaluation.intervals import Place, bootstrap, intervals
from milr.evaluation.location import percentile
from milr.evaluation.metrics import MEASURES, METRIC_KINDS, Metric, MetricKind, location_measurements
from milr.evaluation.tables import Measurement, compare, read_measurements, summarise, without_repeated, write_csv

POINTING, MASS = Metric("pointing", "box"), Metric("mass", "box")


def row(value: float, name: str = "total", episode: int = 0) -> Measurement:
    return Measurement(name, episode, "a.jpg", POINTING, value, 0.25)


def test_what_cannot_be_measured_is_left_out_and_counted() -> None:
    (result,) = summarise([row(1.0), row(0.0), row(math.nan)], "toy")
    assert (result.value, result.n, result.left_out, result.chance) == (0.5, 2, 1, 0.25)


@pytest.mark.parametrize(("large", "left"), [(0, [MASS]), (1, [MASS, replace(MASS, small=True)])])
def test_a_metric_of_small_regions_is_left_out_where_all_are_small(large: int, left: list[Metric]) -> None:
    rows = [Measurement("total", 0, f"{i}", MASS, i / 10, 0.2) for i in range(5)]
    rows += [replace(each, metric=replace(MASS, small=True)) for each in rows[large:]]
    assert [result.metric for result in without_repeated(summarise(rows, "toy"))] == left


def test_maps_are_kept_apart() -> None:
    results = summarise([row(1.0), row(0.0, "random"), row(1.0)], "toy")
    assert [(r.method, r.map, r.value) for r in results] == [("milr", "total", 1.0), ("control", "random", 0.0)]
    assert all(r.data_set == "toy" and r.direction == "higher" for r in results)


def test_comparisons_are_image_by_image() -> None:
    """One image of ten is only in one of the maps; on the others the difference is always the same."""
    rows = [Measurement("decision", i % 2, f"{i}", MASS, i / 10 + 0.1, 0.2) for i in range(10)]
    rows += [Measurement("random", i % 2, f"{i}", MASS, i / 10, 0.2) for i in range(9)]
    (found,) = compare(rows, "toy", ["decision"])
    assert (found.map, found.other, found.n) == ("decision", "random", 9)
    assert (found.difference, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_every_metric_has_a_direction() -> None:
    assert Metric("keep", "", "accuracy", 0.2).direction() == "higher"
    assert Metric("keep", "", "loss", 0.2, at="pixels").direction() == "lower"
    assert Metric("remove", "", "accuracy", 0.2).direction() == "lower"
    assert Metric("remove", "", "loss", 0.2).direction() == "higher"
    assert Metric("area", "", "cosine", at="pixels").direction() == "higher"
    assert Metric("untouched", "", "accuracy").direction() == "none"
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        Metric("beauty", "box")


def test_a_metric_has_a_name_a_unit_and_a_chance() -> None:
    heat = torch.zeros(10, 10)
    loss, accuracy = Metric("keep", "", "loss", 0.2, at="pixels"), Metric("remove", "", "accuracy", 0.07)
    assert (loss.name, loss.unit, loss.source) == ("keep 20% pixels, loss", "nats", "Petsiuk et al. 2018")
    assert (accuracy.name, accuracy.chance(heat, 0.2)) == ("remove 7%, accuracy", 0.2)
    assert math.isnan(loss.chance(heat, 5)) and math.isnan(Metric("area", "", "accuracy").chance(heat, 5))
    assert Metric("rank accuracy", "box", small=True).name == "rank accuracy, box up to a third"
    assert Metric("contrast", "bill, head and wing").name == "contrast, bill, head and wing"
    assert Metric("area", measure="cosine", at="pixels").name == "area pixels, cosine"
    assert Metric("coverage", "left eye").chance(heat, (0, 0)) == 0.2


def test_a_new_metric_is_a_function_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def highest_inside(heat: torch.Tensor, region: torch.Tensor, seed: int) -> float:
        return float(heat[region].max())

    monkeypatch.setitem(METRIC_KINDS, "peak", MetricKind("regions", "lower", "nobody", "bits", highest_inside, 0.5))
    heat = torch.arange(16.0).view(4, 4)
    measured = location_measurements(heat, {"box": heat < 6}, {}, seed=0)
    assert measured[Metric("peak", "box")] == (5.0, 0.5)
    rows = [Measurement("total", 0, "a.jpg", metric, *pair) for metric, pair in measured.items()]
    result = next(result for result in summarise(rows, "toy") if result.metric.name == "peak, box")
    assert (result.value, result.chance, result.direction, result.metric.unit) == (5.0, 0.5, "lower", "bits")


def test_measurements_come_back_out_of_a_table(tmp_path: Path) -> None:
    metrics = [
        POINTING,
        Metric("rank accuracy", "box", small=True),
        Metric("contrast", "bill, head and wing"),
        *(Metric("keep", "", measure, 0.2, at) for measure in MEASURES for at in ("layer", "pixels")),
    ]
    rows = [Measurement("total", 3, "a, b.jpg", metric, 1 / 3, math.pi) for metric in metrics]
    write_csv(tmp_path / "per_image.csv", rows)
    assert read_measurements(tmp_path / "per_image.csv") == rows
    with (tmp_path / "per_image.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["metric"] for row in table] == [metric.name for metric in metrics]
    assert (table[3]["kind"], table[3]["measure"], table[3]["share"]) == ("keep", "accuracy", "0.2")


def test_the_bootstrap_interval_is_near_the_normal_one() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(400, generator=generator).tolist()
    mean, low, high = bootstrap(values, [index % 8 for index in range(400)])
    half = 1.96 * (1 / 12) ** 0.5 / 20
    assert mean == pytest.approx(sum(values) / 400)
    assert low == pytest.approx(mean - half, abs=0.006) and high == pytest.approx(mean + half, abs=0.006)


def test_episodes_are_strata() -> None:
    """Images that agree within their episode leave nothing to chance."""
    assert bootstrap([1.0, 1.0, 0.0, 0.0], [0, 0, 1, 1]) == (0.5, 0.5, 0.5)


def test_fits_are_drawn_too() -> None:
    """Fits that differ and images that do not: the interval is that of the fits' mean, from least to greatest."""
    sample = [(Place(fit, 0, f"{image}"), float(fit)) for fit in range(3) for image in range(20)]
    mean, low, high = intervals([sample])[0]
    assert (mean, low, high) == pytest.approx((1, 0, 2), abs=0.35) and low < 0.7 and high > 1.3
    alike = [(Place(fit, 0, f"{image}"), image % 2) for fit in range(3) for image in range(20)]
    assert intervals([alike])[0] == pytest.approx(intervals([alike[:20]])[0], abs=1e-12)


def test_samples_of_the_same_images_have_the_same_draws_and_intervals_of_their_own() -> None:
    samples = [[(Place(0, i % 2, f"{i}"), float(i**power)) for i in range(10)] for power in (1, 2)]
    assert intervals([samples[0], [], samples[1]])[2] == pytest.approx(intervals([samples[1]])[0])


def test_a_map_of_each_fit_is_compared_with_one_that_needs_none_and_fit_by_fit_with_its_like() -> None:
    rows = [Measurement("decision", 0, f"{i}", MASS, i + fit / 10, 0.2, fit=fit) for i in range(5) for fit in (0, 1)]
    rows += [Measurement("kept", 0, f"{i}", MASS, i + fit / 10 - 1, 0.2, fit=fit) for i in range(5) for fit in (0, 1)]
    rows += [Measurement("random", 0, f"{i}", MASS, float(i), 0.2, fit=0) for i in range(5)]
    found = {row.other: row for row in compare(rows, "toy", ["decision"])}
    assert (found["kept"].n, found["kept"].difference, found["kept"].low) == pytest.approx((10, 1, 1))
    assert (found["random"].n, found["random"].difference) == pytest.approx((10, 0.05))
    assert {r.map: r.fits for r in summarise(rows, "toy")} == {"decision": 2, "kept": 2, "random": 1}


def test_no_values_no_mean() -> None:
    assert all(math.isnan(value) for value in bootstrap([], []))


def test_percentiles_of_places() -> None:
    heat = torch.arange(100.0).view(10, 10)
    assert percentile(heat, (9, 9)) == pytest.approx(0.995) and percentile(heat, (0, 0)) == pytest.approx(0.005)
    assert percentile(torch.zeros(10, 10), (3, 4)) == pytest.approx(0.5)


def test_a_groups_parts_against_all_others() -> None:
    heat = torch.arange(100.0).view(10, 10)
    parts = {"left eye": (9, 9), "beak": (9, 7), "tail": (0, 0), "left leg": (0, 2)}
    found = location_measurements(heat, {}, parts, seed=0)
    assert found[Metric("contrast", "bill, head and wing")] == (pytest.approx(0.97), 0.0)
    assert found[Metric("contrast", "tail and back")][0] == pytest.approx(0.005 - (0.995 + 0.975 + 0.025) / 3)


def test_one_map_against_its_annotations(tmp_path: Path) -> None:
    heat = torch.zeros(4, 4)
    heat[0, 0] = 1
    box = heat > 0
    found = location_measurements(heat, {"box": box}, {"crown": (0, 0)}, seed=0)
    assert found[POINTING] == (1.0, 1 / 16) and found[MASS] == (1.0, 1 / 16)
    assert found[Metric("percentile", "crown")][0] > 0.9
    assert math.isnan(found[Metric("contrast", "breast")][0])
    assert not any(metric.kind == "contrast" for metric in location_measurements(heat, {"box": box}, {}, seed=0))
    write_csv(tmp_path / "a.csv", [row(0.5)])
    with (tmp_path / "a.csv").open() as file:
        assert next(iter(csv.DictReader(file)))["value"] == "0.5"
    with pytest.raises(ValueError, match="nothing was measured"):
        write_csv(tmp_path / "b.csv", [])


def test_what_speaks_for_one_map_says_nothing_of_another() -> None:
    assert Metric("contrast", "tail and back").direction("redundant") == "higher"
    assert Metric("contrast", "tail and back").direction("decision") == "none"
    assert Metric("contrast", "breast").direction("total") == "lower"
    assert Metric("mass", "other").direction() == Metric("percentile", "tail").direction() == "none"
    assert Metric("rank accuracy", "other").direction() == "none"
    assert Metric("rank accuracy", "other", small=True).direction() == "none"
    assert Metric("rank accuracy", "box", small=True).direction() == "higher"


def test_any_file_name_comes_back_out_of_a_table(tmp_path: Path) -> None:
    names = ["a b.jpg", "a, b;c.jpg", 'the "q".jpg', "Größe Ж 鳥.jpg", "two\nlines.jpg", "=1+1"]
    rows = [Measurement("total", 0, name, POINTING, 1.0, 0.5) for name in names]
    write_csv(tmp_path / "per_image.csv", rows[:2])
    write_csv(tmp_path / "per_image.csv", rows[2:], append=True)
    with (tmp_path / "per_image.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["file"], row["metric"]) for row in csv.DictReader(file)] == [(n, "pointing, box") for n in names]


def test_a_table_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    table = tmp_path / "per_image.csv"
    table.write_text("map,episode,file,metric,value,chance\ntotal,0,a.jpg,pointing,1.0,0.5\n")
    with pytest.raises(MilrError, match=r"per_image\.csv was begun by an earlier version"):
        read_measurements(table)
