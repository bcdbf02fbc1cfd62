"""The critic: scores as inner products, what telling it the place is worth, dropout of the fit alone."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian import fitted_critic, plain_critic

from milr.explanation.critic_fitting import held_out_nats
from milr.explanation.features import Features
from milr.explanation.settings import CriticSettings
from milr.information.critic import Critic, CriticShape, Dropout, place_encoding
from milr.information.statistics import Standardise


def test_each_place_has_a_code_of_its_own_that_is_bounded() -> None:
    code = place_encoding(5, 7)
    assert code.shape == (35, 14) and code.abs().max() <= 1
    assert torch.cdist(code, code).add(10 * torch.eye(35)).min() > 0.1
    second = torch.tensor([-1.0, -2 / 3])  # rows from the top left: place 1 is the second column
    assert torch.allclose(code[1, :2], second)


@pytest.mark.parametrize("place", [True, False])
def test_some_places_are_projected_as_among_all(place: bool) -> None:
    critic = plain_critic(8, (3, 4), place)
    local = torch.randn(2, 8, 3, 4)
    whole, some = critic.project_local(local), torch.tensor([7, 0, 11])
    chosen = local.flatten(2).transpose(1, 2)[:, some]
    assert whole.shape == (2, 12, 16)
    assert torch.allclose(critic.project_locations(chosen, some), whole[:, some], atol=1e-6)
    everywhere = critic.project_local(torch.ones(1, 8, 3, 4))[0]
    assert bool((everywhere - everywhere[:1]).abs().max() > 1e-3) == place  # the same content, told from where it lies


def test_features_that_were_standardised_before_are_projected_the_same() -> None:
    local, z = (Standardise(torch.randn(size), torch.rand(size)) for size in (8, 5))
    critic = Critic(local, z, (3, 4), CriticShape(width=0, dimension=16))
    local, z = torch.randn(2, 8, 12), torch.randn(2, 5)
    assert torch.equal(
        critic.project_standardised(critic.standardise(local).transpose(1, 2)),
        critic.project_locations(local.transpose(1, 2)),
    )
    standardised = critic.standardise_representation(z)
    assert torch.equal(critic.project_standardised_representation(standardised), critic.project_representation(z))
    assert isinstance(critic.hidden, torch.nn.Identity)  # width 0 is one layer


def test_scores_are_divided_by_the_root_of_the_dimension() -> None:
    critic = plain_critic(8, (1, 1), place=False)
    local, z = torch.randn(1, 1, 8), torch.randn(1, 8)
    by_hand = critic.hidden(critic.content(local[0])) @ critic.representation(z).T / math.sqrt(16)
    assert torch.allclose(critic.project_locations(local)[0] @ critic.project_representation(z).T, by_hand, atol=1e-6)


def signed_pairs(images: int, seed: int) -> Features:
    """x_i = ±(z + noise), + on the left half of 8 places and - on the right: I(x_i; z) = 2 nats at each (d = 4)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(images, 4, generator=generator)
    noise = 1 / math.sqrt(math.e - 1)  # 4/2 · ln(1 + 1/noise²) = 2
    sign = torch.tensor([1.0] * 4 + [-1.0] * 4)[None, :, None]
    local = sign * (z[:, None] + noise * torch.randn(images, 8, 4, generator=generator))
    return Features(local.half(), z, torch.arange(8), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("denominator", ["places", "same_place"])
def test_a_critic_that_is_told_the_place_finds_what_one_that_is_not_cannot(denominator: str) -> None:
    """Not knowing i, x_i may be of either sign, and +z is as likely as -z: the sign is lost, not all of it."""
    train, held_out = signed_pairs(4000, 1), signed_pairs(512, 2)
    how = CriticSettings(steps=800, images=64, places=8, weight_decay=0.05)
    found = {}
    for place in (True, False):
        critic, task = fitted_critic(train, held_out, denominator, how, place)
        found[place] = held_out_nats(critic, task, 64)
    assert 1.5 < found[True] < 2.1, found  # of 2 nats
    assert found[False] < 0.5 * found[True], found


def test_dropout_scales_what_stays_and_is_off_without_a_generator() -> None:
    dropout, values = Dropout(0.25), torch.ones(400, 50)
    assert dropout.training and torch.equal(dropout(values), values)
    dropout.generator = torch.Generator().manual_seed(0)
    dropped = dropout(values)
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float((dropped == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    dropout.generator.manual_seed(0)
    assert torch.equal(dropout(values), dropped)
    before = torch.default_generator.get_state()
    dropout(values)
    assert torch.equal(torch.default_generator.get_state(), before)
