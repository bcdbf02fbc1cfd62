"""Measures of place: perfect, wrong, constant and empty."""

import math

import pytest
import torch

from milr.evaluation.location import coverage, mass_lift, mass_share, pointing_hit, rank_accuracy

REGION = torch.zeros(8, 8, dtype=torch.bool)
REGION[2:4, 1:5] = True
CHANCE = 8 / 64


def test_a_map_that_is_the_region_scores_1_and_its_opposite_0() -> None:
    for measure in (rank_accuracy, pointing_hit, mass_share):
        assert measure(REGION.float(), REGION) == 1
        assert measure((~REGION).float(), REGION) == 0


def test_a_constant_map_gets_chance_and_is_never_a_sure_hit() -> None:
    constant = torch.full((8, 8), 3.0)
    seeds = range(2000)
    assert sum(rank_accuracy(constant, REGION, seed) for seed in seeds) / 2000 == pytest.approx(CHANCE, abs=0.02)
    assert sum(pointing_hit(constant, REGION, seed) for seed in seeds) / 2000 == pytest.approx(CHANCE, abs=0.03)
    assert mass_share(constant, REGION) == pytest.approx(CHANCE)


def test_half_of_the_highest_places() -> None:
    heat = torch.zeros(8, 8)
    heat[2, 1:5] = 2  # four of the region
    heat[7, 0:4] = 1  # four elsewhere
    assert rank_accuracy(heat, REGION) == 0.5
    assert mass_share(heat, REGION) == pytest.approx(8 / 12)


def test_lift_is_density_in_the_region_over_density_on_average() -> None:
    assert mass_lift(torch.ones(8, 8), REGION) == pytest.approx(1)
    assert mass_lift(REGION.float(), REGION) == pytest.approx(1 / CHANCE)
    assert math.isnan(mass_lift(torch.ones(8, 8), torch.zeros(8, 8, dtype=torch.bool)))


def test_coverage_is_a_place_among_the_highest_fifth() -> None:
    heat = torch.arange(100.0).view(10, 10)
    assert coverage(heat, (8, 0)) == 1 and coverage(heat, (7, 9)) == 0
    assert sum(coverage(torch.zeros(10, 10), (3, 3), seed) for seed in range(2000)) / 2000 == pytest.approx(
        0.2, abs=0.03
    )


def test_an_empty_region_cannot_be_measured() -> None:
    empty = torch.zeros(8, 8, dtype=torch.bool)
    assert all(math.isnan(measure(torch.rand(8, 8), empty)) for measure in (rank_accuracy, pointing_hit, mass_share))


def test_negative_values_have_no_mass_and_the_map_is_left_alone() -> None:
    heat = torch.where(REGION, 1.0, -5.0)
    before = heat.clone()
    assert mass_share(heat, REGION) == 1
    assert math.isnan(mass_share(-torch.ones(8, 8), REGION))
    assert torch.equal(heat, before)
