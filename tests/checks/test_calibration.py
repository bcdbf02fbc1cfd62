"""The summary of a calibration, which readings a fit can serve, and a short fit on planted symbols that finds them."""

import csv
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from small import manifest, run_of

from milr import cli
from milr.checks.calibration import (
    Calibration,
    Counts,
    PlacePoint,
    calibrate_world,
    fits_wanted,
    is_sound,
    line,
    summary,
)
from milr.checks.critic_fits import CriticFit, spread_of
from milr.checks.drawn_symbols import drawn_symbols
from milr.explanation.settings import CriticSettings, InfomaxSettings
from milr.information.infomax import DENOMINATORS
from milr.information.readings import READINGS


def point(true: float, estimated: float, error: float = 0.0) -> PlacePoint:
    return PlacePoint("w", "infonce", "same_place", "place", 0, 0, true, estimated, estimated, estimated, error)


def test_a_fit_is_the_line_through_the_places_and_the_places_without_information() -> None:
    points = [point(0, 0.1, 0.3), point(0, 0.1, 0.1), point(2, 1.9), point(4, 3.7)]
    found = line(points)
    assert found.slope == pytest.approx(0.9) and found.intercept == pytest.approx(0.1)
    assert found.empty == pytest.approx(0.1)
    assert found.single_error == pytest.approx(math.sqrt(0.1 / 4))
    assert found.single_error_empty == pytest.approx(math.sqrt(0.1 / 2))
    assert (found.true_mean, found.estimated_mean) == (1.5, pytest.approx(1.45))
    exact = line([point(0, 0), point(6, 6)])
    assert (exact.slope, exact.intercept, exact.empty, exact.empty_worst) == pytest.approx((1, 0, 0, 0))
    worst = line([point(0, -0.4), point(0, 0.1), point(6, 6)])
    assert worst.empty_worst == pytest.approx(-0.4)


def test_the_summary_of_several_seeds_is_their_mean_and_how_far_seeds_and_batches_spread() -> None:
    fits = [[point(0, 0.1, 0.2), point(2, 2.1)], [point(0, -0.3, 0.6), point(2, 1.1)]]
    found = [CriticFit(torch.tensor([1.0, 1.2]), 3.0), CriticFit(torch.tensor([0.6, 1.0]), 5.0)]
    both, one = summary(fits, found), summary(fits[:1], found[:1])
    assert (both.seeds, one.seeds) == (2, 1)
    assert both.slope == pytest.approx((1.0 + 0.7) / 2) and both.empty == pytest.approx(-0.1)
    assert both.empty_worst == pytest.approx(-0.3)
    assert both.slope_over_seeds == pytest.approx(0.3 / math.sqrt(2))
    assert both.empty_over_seeds == pytest.approx(0.4 / math.sqrt(2))
    assert both.single_error == pytest.approx(0.4 / math.sqrt(2)) and both.single_error_over_seeds == pytest.approx(0.2)
    assert both.held_out == pytest.approx(0.95) and both.held_out_over_seeds == pytest.approx(0.3 / math.sqrt(2))
    assert both.held_out_over_batches == pytest.approx((0.2 + 0.4) / 2 / math.sqrt(2)) and both.seconds == 4.0
    assert one.slope == 1.0 and one.held_out_over_batches == pytest.approx(0.2 / math.sqrt(2))
    assert all(map(math.isnan, (one.slope_over_seeds, one.single_error_over_seeds, one.held_out_over_seeds)))
    assert math.isnan(spread_of([CriticFit(torch.tensor([1.0]), 0.0)]).over_batches)


def test_two_seeds_are_two_runs_and_spread_as_they_do() -> None:
    infomax = InfomaxSettings(width=16, dimension=8, bank_images=16, bank_representations=32)
    critic = CriticSettings(steps=6, images=16, places=8, learning_rate=2e-2)

    def calibrated(*seeds: int) -> tuple[list[PlacePoint], list[Calibration]]:
        world, counts = drawn_symbols(), Counts(96, 48, 8)
        return calibrate_world(world, infomax, critic, counts, seeds, torch.device("cpu"))

    (points, both), (first, one), (second, other) = calibrated(0, 1), calibrated(0), calibrated(1)
    assert points == first + second and first != second
    for row, a, b in zip(both, one, other, strict=True):
        assert row.reading == a.reading and row.seeds == 2
        for name in ("slope", "empty", "single_error", "held_out"):
            pair = [getattr(a, name), getattr(b, name)]
            assert pair[0] != pair[1]
            assert getattr(row, name) == pytest.approx(sum(pair) / 2, rel=1e-5)
            assert getattr(row, f"{name}_over_seeds") == pytest.approx(torch.tensor(pair).std().item(), rel=1e-4)
        batches = (a.held_out_over_batches + b.held_out_over_batches) / 2
        assert row.held_out_over_batches == pytest.approx(batches) and batches > 0 and row.seconds > 0


def test_each_denominator_serves_one_softmax_and_an_unnormalised_estimator_serves_both() -> None:
    assert {over: [r for r in READINGS if is_sound("infonce", over, r)] for over in DENOMINATORS} == {
        "representations": ["sample", "representation"],
        "same_place": ["sample", "place"],
        "places": ["sample", "place"],
    }
    assert all(is_sound("nwj", "representations", reading) for reading in READINGS)


def test_infonce_alone_is_fitted_with_each_denominator() -> None:
    fits = fits_wanted(InfomaxSettings(), ["infonce", "flo"], ["representations", "same_place"])
    assert [(fit.estimator, fit.denominator) for fit in fits] == [
        ("infonce", "representations"),
        ("infonce", "same_place"),
        ("flo", "representations"),
    ]


@pytest.mark.slow
def test_a_short_fit_finds_the_symbols_and_little_elsewhere() -> None:
    world = drawn_symbols()
    infomax = InfomaxSettings(width=256, bank_images=128, bank_representations=1024)
    critic = CriticSettings(steps=300, images=64, places=32, learning_rate=2e-2, weight_decay=0.01, validate_every=50)
    _, found = calibrate_world(world, infomax, critic, Counts(4096, 256, 64), [0], torch.device("cpu"))
    by_reading = {row.reading: row for row in found}
    assert [row.sound for row in found] == [True, False, True]
    best = by_reading["representation"]
    assert 0.2 < best.slope < 1.05 and abs(best.empty) < 0.1 and best.single_error < 1.2
    assert best.true_mean == pytest.approx(float(world.truth.mean()))


@pytest.mark.slow
def test_the_stage_leaves_its_table_and_figure(tmp_path: Path) -> None:
    few = ["calibrate.train_pictures=64", "calibrate.held_out_pictures=32", "calibrate.test_pictures=4"]
    few += ["critic.steps=2", "critic.images=16", "infomax.bank_images=8", "calibrate.estimators=[infonce,flo]"]
    few += ["calibrate.seeds=2"]
    assert cli.main(["calibrate", f"outputs={tmp_path}", "device=cpu", *few]) == 0
    run = run_of(tmp_path, "calibrate")
    rows = (run / "calibrate.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 3 * 3  # worlds, fits, readings
    assert len((run / "places.csv").read_text().splitlines()) == 1 + 64 * 2 * 3 * 3 * 2  # and seeds
    assert "over batches" in (run / "log.txt").read_text(encoding="utf-8")
    assert {row["seeds"] for row in csv.DictReader(rows)} == {"2"}
    assert (run / "calibration.png").stat().st_size > 10_000
    result = manifest(run)["result"]
    assert set(result) == {"slope", "intercept", "empty_bits", "single_error_bits", "rows"}  # type: ignore[call-overload]


@pytest.mark.slow
def test_it_can_be_checked_and_looks_at_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["infomax.bank_images=8", "infomax.bank_representations=64", "critic.images=16", "infomax.width=16"]
    assert cli.main(["check", "calibrate", f"outputs={tmp_path}", "device=cpu", *few]) == 0
    told = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["settings", "device", "disk", "one"]


def test_words_that_are_no_world_or_estimator_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key, word in {"worlds": "moon", "estimators": "info", "denominators": "all"}.items():
        assert cli.main(["calibrate", f"outputs={tmp_path}", f"calibrate.{key}=[{word}]"]) == 2
        assert f"calibrate.{key}=['{word}']: choose among" in capsys.readouterr().err


def test_a_point_is_a_row_of_the_table() -> None:
    assert [each.name for each in dataclasses.fields(PlacePoint)][:4] == [
        "world",
        "estimator",
        "denominator",
        "reading",
    ]
