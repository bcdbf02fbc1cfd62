"""The null finds nothing, and both estimators find what a Gaussian pair is known to hold."""

import math
from dataclasses import replace

import pytest
import torch
from toy import SHORT, features, prepared

from milr.checks.estimators import estimator_bits, gaussian_bits, new_critic, null_bits
from milr.errors import MilrError
from milr.explanation.critic_fitting import CriticTask, fit_critic, held_out_nats
from milr.explanation.features import Features
from milr.explanation.settings import CriticSettings

HOW = CriticSettings(steps=150, validate_every=50)


@pytest.mark.slow
def test_null_and_estimate_on_the_toy_world() -> None:
    explainer, (train, held_out) = prepared(), features()
    assert train.local.shape == (512, 256, 16) and train.representation.shape == (512, 32)
    null = null_bits(explainer, train, held_out, HOW, seed=0)
    real = estimator_bits(explainer, train, held_out, HOW, "infonce", seed=0)
    assert abs(null) < 0.05 and real > null + 0.02


def test_the_order_in_which_the_pictures_lie_does_not_matter() -> None:
    explainer, (train, held_out) = prepared(), features()
    order = held_out.representation[:, 0].argsort()  # alike ones beside each other, as a class's pictures are
    critic, task = new_critic(explainer, 0), CriticTask(train, held_out)
    fit_critic(critic, task, replace(HOW, steps=40, validate_every=40))
    found = [held_out_nats(critic, replace(task, held_out=part), 64) for part in (held_out, held_out.at(order))]
    assert abs(found[0] - found[1]) < 0.02 and abs(found[0]) > 1e-3, found


def test_an_explainers_own_critic_is_not_touched() -> None:
    explainer, (train, held_out) = prepared(), features()
    before = {name: value.clone() for name, value in explainer.modules.state_dict().items()}
    assert estimator_bits(explainer, train, held_out, SHORT, "infonce", seed=0) == estimator_bits(
        explainer, train, held_out, SHORT, "infonce", seed=0
    )
    null_bits(explainer, train, held_out, SHORT, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in explainer.modules.state_dict().items())


@pytest.mark.slow
def test_the_gaussian_estimate_of_a_gaussian_pair_is_the_closed_form() -> None:
    """z shares one of its two dimensions' content with every place: I = -log2(1 - rho²) / 2."""
    explainer = prepared()
    rho, generator = 0.8, torch.Generator().manual_seed(0)
    explainer.modules.local.mean.zero_()
    explainer.modules.local.std.fill_(1.0)
    explainer.settings.bottleneck.whitening_share = 1.0

    def pairs(count: int) -> Features:
        z = torch.randn(count, 2, generator=generator)
        local = torch.randn(count, 8, 16, generator=generator)
        local[..., 0] = rho * z[:, :1] + math.sqrt(1 - rho**2) * local[..., 0]
        return Features(local.half(), z, torch.arange(8), 1.0)

    truth = -0.5 * math.log2(1 - rho**2)
    how = CriticSettings(steps=800, learning_rate=1e-3)
    found = gaussian_bits(explainer, pairs(4000), pairs(2000), how, seed=0)
    assert 0.85 * truth < found < 1.1 * truth, (found, truth)


def test_the_gaussian_estimate_stops_before_it_learns_its_pictures_by_heart() -> None:
    explainer = prepared()
    generator = torch.Generator().manual_seed(0)

    def unrelated(count: int) -> Features:
        local = torch.randn(count, 8, 16, generator=generator).half()
        return Features(local, torch.randn(count, 4, generator=generator), torch.arange(8), 1.0)

    train, held_out = unrelated(24), unrelated(200)
    how = CriticSettings(steps=300, learning_rate=1e-2, images=24, places=8, validate_every=10, patience=3)
    found = gaussian_bits(explainer, train, held_out, how, seed=0)
    blind = gaussian_bits(explainer, train, held_out, replace(how, validate_every=300), seed=0)
    assert blind < found < 0.2, (blind, found)


def test_a_gaussian_estimate_that_is_not_finite_is_refused() -> None:
    explainer = prepared()
    held = Features(torch.full((24, 8, 16), torch.nan).half(), torch.randn(24, 4), torch.arange(8), 1.0)
    with pytest.raises(MilrError, match="not finite: lower"):
        gaussian_bits(explainer, held, held, CriticSettings(steps=2, images=8, places=4), seed=0)
