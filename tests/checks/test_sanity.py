"""The sanity table: what is compared, what is wanted, and a gap that has a meaning."""

import math

import pytest
import torch

from milr.baselines.methods import KINDS
from milr.checks.sanity import compared, gap_share, wanted_of
from milr.explanation.maps import Maps


def maps(seed: int) -> Maps:
    values = torch.rand(5, 40, 8, 8, generator=torch.Generator().manual_seed(seed))
    values[:, :, 2, 2] = 1e5  # an outlier that all maps share
    return Maps(*values, output=torch.zeros(40, 4), cap=5.0)


def test_maps_that_share_nothing_but_an_outlier_are_not_alike() -> None:
    rows = compared("seeds", "seed 1", maps(0), maps(1))
    assert [(row.map, row.measure, row.n) for row in rows] == [(kind, "rank correlation", 40) for kind in KINDS]
    assert all(-0.15 < row.low < row.value < row.high < 0.15 for row in rows)
    assert all(row.value == pytest.approx(1) for row in compared("seeds", "seed 1", maps(0), maps(0)))


def test_maps_are_measured_against_the_seeds_and_no_fixed_number_makes_a_forgotten_network_pass() -> None:
    assert wanted_of("seeds", "decision") == wanted_of("labels", "total") == "at least 0.8"
    assert {wanted_of("cascade", kind) for kind in KINDS} == {wanted_of("labels", "decision")}
    assert wanted_of("cascade", "total") == "well under the seeds'"


@pytest.mark.parametrize(
    ("fitted", "held_out", "share"),
    [(1.731, 1.590, 0.0887), (0.2, 0.2, 0.0), (0.1, 0.2, -0.5), (0.5, -0.1, math.inf), (-0.2, -0.1, math.inf)],
)
def test_the_gap_is_a_share_of_what_is_found_on_held_out_images_and_without_bound_where_nothing_is(
    fitted: float, held_out: float, share: float
) -> None:
    assert gap_share(fitted, held_out) == pytest.approx(share, abs=1e-4)
