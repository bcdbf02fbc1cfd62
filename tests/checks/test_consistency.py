"""The laws of information on features whose information is known, and the extrapolation over pictures."""

import math

import pytest
import torch

from milr.checks.consistency import convergence, estimator_table, extrapolated, parts_of, self_consistency
from milr.checks.critic_fits import Fitting
from milr.checks.feature_pairs import contents, mispaired, pairs_of, projected, side_by_side
from milr.explanation.features import Features
from milr.explanation.settings import CriticSettings, InfomaxSettings

GRID = (2, 2)


def features(count: int, seed: int) -> Features:
    """Two signs a picture: at place 0 the first, at place 1 both, beside noise; z holds both in 12 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (count, 2), generator=generator).float() * 2 - 1
    local = 0.3 * torch.randn(count, 4, 3, generator=generator)
    local[:, 0, 0] += signs[:, 0]
    local[:, 1, :2] += signs
    mixing = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    return Features(local.half(), signs @ mixing, torch.arange(4), 1.0)


def fitting(**infomax: str) -> Fitting:
    critic = CriticSettings(steps=250, images=32, places=4, learning_rate=1e-2, weight_decay=0.01, validate_every=50)
    settings = InfomaxSettings(width=32, dimension=16, **infomax)  # type: ignore[arg-type]
    return Fitting(settings, critic, GRID, torch.device("cpu"))


def test_side_by_side_joins_contents_and_representations_of_two_pictures() -> None:
    whole = features(40, 0)
    both = side_by_side(whole, 0)
    assert both.local.shape == (40, 4, 6) and both.representation.shape == (40, 24)
    other = torch.tensor([(whole.local == part).flatten(1).all(1).nonzero().item() for part in both.local[:, :, 3:]])
    assert torch.equal(both.representation[:, 12:], whole.representation[other]) and other.unique().numel() == 40
    assert not torch.equal(mispaired(whole, 0).representation, whole.representation)
    assert projected(whole, 0).representation.shape == (40, 8)


def test_shares_of_the_pictures_lie_in_one_another() -> None:
    whole = features(40, 0)
    small, large = parts_of(whole, (0.25, 1.0), seed=0)
    assert (len(small), len(large)) == (10, 40)
    assert all((contents(large) == part).flatten(1).all(1).any() for part in contents(small))
    for part in (small, large):  # each still with its own representation
        rows = [(contents(whole) == x).flatten(1).all(1).nonzero().item() for x in contents(part)]
        assert torch.equal(whole.representation[rows], part.representation)


def test_the_extrapolation_is_the_line_in_one_over_n() -> None:
    exact = [[2 - 30 / n] * 2 for n in (25, 50, 100)]
    assert extrapolated((25, 50, 100), exact) == pytest.approx((2.0, 0.0), abs=1e-6)
    noisy = [[row[0] - 0.1, row[0] + 0.1] for row in exact]
    limit, error = extrapolated((25, 50, 100), noisy)
    assert limit == pytest.approx(2.0, abs=1e-6) and 0.05 < error < 0.2
    assert math.isnan(extrapolated((25, 50), [[1.0], [2.0]])[1])


@pytest.mark.slow
def test_the_laws_hold_where_the_information_is_known() -> None:
    train, held_out = features(2000, 1), features(512, 2)
    truth = 3 / 4  # 1 bit at one of four places, 2 bits at another
    one, less, both, none = self_consistency(train, held_out, fitting(), seeds=(0,))
    assert 0.85 * truth < one.bits < 1.03 * truth
    assert less.bits < one.bits + 0.03
    assert both.bits == pytest.approx(2 * one.bits, rel=0.2)
    assert abs(none.bits) < 0.05


@pytest.mark.slow
def test_the_table_of_estimators_and_the_convergence() -> None:
    train, held_out = features(1000, 1), features(256, 2)
    rows = {row.name: row for row in estimator_table(train, held_out, fitting(), ["infonce", "jsd"], seeds=(0, 1))}
    best = max(row.bits for row in rows.values())
    assert {name: row.bias for name, row in rows.items()} == pytest.approx(
        {name: row.bits - best for name, row in rows.items()}
    )
    assert all(row.over_seeds < 0.2 and row.over_batches > 0 and row.seconds > 0 for row in rows.values())
    line = convergence(train, held_out, fitting(), seeds=(0,))
    assert line.pictures == (250, 500, 1000) and line.share == pytest.approx(line.bits[-1][0] / line.limit)


def test_pairs_are_drawn_anew_and_each_side_belongs_together() -> None:
    whole = features(64, 0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        sample = pairs_of(whole).draw(16, 3, generator, torch.device("cpu"))
        assert sample.local.shape == (16, 3, 6) and sample.representation.shape == (16, 24)
        for half in (0, 1):
            local, z = sample.local[:, :, 3 * half : 3 * half + 3], sample.representation[:, 12 * half : 12 * half + 12]
            alike = (whole.local[:, sample.places].float() == local[:, None]).flatten(2).all(2)
            assert torch.equal(alike.int().argmax(1), alike.nonzero()[:, 1])
            assert torch.equal(whole.representation[alike.int().argmax(1)], z)
