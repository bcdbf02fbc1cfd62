"""The estimate of the total information against eq. 2 and 3 written out, closed forms, its cap and its identities."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian import correlation_of, fitted_critic, gaussian_features
from torch import Tensor

from milr.explanation.critic_fitting import held_out_nats
from milr.explanation.settings import CriticSettings
from milr.information.estimators import ESTIMATORS
from milr.information.infomax import DENOMINATORS, batch_information, batch_scores, log_mean, matched, mean_cap

ALL = list(DENOMINATORS)


def projections(images: int = 6, locations: int = 5, dimension: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    local = torch.randn(images, locations, dimension, generator=generator)
    return local, torch.randn(images, dimension, generator=generator)


def written_out(local: Tensor, z: Tensor, denominator: str, j: int, i: int) -> Tensor:
    """i(x_i^j; z^j) by a loop over what the denominator counts, the own image included."""
    images, locations, _ = local.shape
    if denominator == "places":  # eq. 3: all locations of all images
        scores = [local[m, n] @ z[j] for m in range(images) for n in range(locations)]
    elif denominator == "same_place":
        scores = [local[m, i] @ z[j] for m in range(images)]
    else:
        scores = [local[j, i] @ z[m] for m in range(images)]
    mean = sum(score.exp() for score in scores) / len(scores)
    return local[j, i] @ z[j] - torch.as_tensor(mean).log()


@pytest.mark.parametrize("denominator", ALL)
def test_batch_information_is_equation_2_written_out(denominator: str) -> None:
    local, z = projections()
    expected = torch.stack(
        [torch.stack([written_out(local, z, denominator, j, i) for i in range(5)]) for j in range(6)]
    )
    assert torch.allclose(batch_information(local, z, denominator), expected, atol=1e-5)


def test_the_denominators_differ() -> None:
    local, z = projections()
    places, same, representations = (batch_information(local, z, denominator) for denominator in ALL)
    assert all(
        (a - b).abs().mean() > 0.1 for a, b in ((places, same), (same, representations), (places, representations))
    )


@pytest.mark.parametrize("denominator", ALL)
def test_the_estimate_is_the_mean_and_the_loss_its_negative(denominator: str) -> None:
    local, z = projections()
    scores, infonce = batch_scores(local, z), ESTIMATORS["infonce"]
    expected = batch_information(local, z, denominator).mean()
    assert torch.allclose(infonce.value(scores, denominator), expected, atol=1e-6)
    assert torch.equal(infonce.loss(scores, denominator), -infonce.value(scores, denominator))
    assert torch.equal(matched(scores)[2, 3], scores[2, 3, 2])
    assert torch.broadcast_to(log_mean(scores, denominator), (6, 5)).shape == (6, 5)


@pytest.mark.parametrize("denominator", ALL)
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_no_score_gets_past_the_caps(denominator: str, scale: float) -> None:
    # The most favourable scores there are: every location of the own image high, all others low.
    own = torch.eye(6, dtype=torch.float64)  # scores of 1e6 have no digit after the point as float32
    information = batch_information(scale * own[:, None].expand(6, 5, 6), scale * own, denominator)
    assert information.mean() <= mean_cap(6) + 1e-4
    if scale > 1:
        assert information.mean() == pytest.approx(mean_cap(6), abs=1e-4)  # it is reached
    one = torch.zeros(6, 5, 6, dtype=torch.float64)
    one[:, 0] = own  # a single place holds all: with eq. 3 it alone gets past, and the mean stays under
    alone = batch_information(scale * one, scale * own, denominator)
    assert alone.max() <= math.log(6 * 5 if denominator == "places" else 6) + 1e-4
    assert alone.mean() <= mean_cap(6) + 1e-4


@pytest.mark.parametrize("denominator", ALL)
def test_constant_scores_carry_nothing(denominator: str) -> None:
    assert batch_information(torch.ones(4, 3, 2), torch.ones(4, 2), denominator).abs().max() < 1e-6


@pytest.mark.parametrize("denominator", ALL)
def test_what_all_that_is_compared_shares_does_not_count(denominator: str) -> None:
    """A function of what is given (z, or x_i where representations are compared) has no say, however large."""
    local, z = projections()
    scores = batch_scores(local, z)
    given = torch.randn(6, 5, 1) if denominator == "representations" else torch.randn(1, 1, 6)
    shifted = scores + 20 * given
    found = [matched(values) - log_mean(values, denominator) for values in (scores, shifted)]
    assert torch.allclose(*found, atol=1e-4)


SLOWLY = CriticSettings(steps=400, images=64, places=4, learning_rate=1e-2, weight_decay=0.1, validate_every=100)


@pytest.mark.slow
@pytest.mark.parametrize("denominator", ALL)
@pytest.mark.parametrize("share_of_cap", [0.0, 0.4, 1.8])
def test_gaussian_information_is_found(denominator: str, share_of_cap: float) -> None:
    """A lower bound: at most the truth and its sampling error, and near it; past the cap, under that and near it."""
    truth, cap = share_of_cap * mean_cap(64), mean_cap(64)
    rho = torch.full((4,), correlation_of(truth, 8))
    train, held_out = (gaussian_features(count, rho, 8, seed) for count, seed in ((4000, 1), (512, 2)))
    critic, task = fitted_critic(train, held_out, denominator, SLOWLY)
    found = held_out_nats(critic, task, 64)
    if truth < cap:
        assert truth - 0.25 < found < truth + 0.08, (found, truth)
    else:
        assert 0.85 * cap < found <= cap, (found, cap)


@pytest.mark.slow
def test_each_place_has_its_own_information() -> None:
    """Half of the places hold 1.5 nats, half nothing; the mean is eq. 1's over the places."""
    truth = torch.tensor([1.5, 0.0, 1.5, 0.0])
    rho = torch.tensor([correlation_of(float(nats), 8) for nats in truth])
    train, held_out = (gaussian_features(count, rho, 8, seed) for count, seed in ((6000, 1), (512, 2)))
    critic, _ = fitted_critic(train, held_out, "representations", SLOWLY)
    with torch.no_grad():
        sample = held_out.sample(torch.arange(512), torch.arange(4), torch.device("cpu"))
        local = critic.project_locations(sample.local, sample.places)
        found = batch_information(local, critic.project_representation(sample.representation), "representations").mean(
            0
        )
    assert (found - truth).abs().max() < 0.3 and found[1::2].abs().max() < 0.1, found
