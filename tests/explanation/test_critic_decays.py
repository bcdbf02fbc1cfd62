"""The critic's rate falls where the held-out bits have stalled, also across a stop."""

import copy
from typing import Any

import pytest
import torch

from milr.explanation.critic_fitting import CriticTask, fit_critic
from milr.explanation.features import Features
from milr.explanation.progress import DECAY
from milr.explanation.settings import CriticSettings
from milr.information.critic import Critic, CriticShape
from milr.information.statistics import Standardise
from milr.training.continuation import Continuation


def features(seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(64, 4, generator=generator)
    local = torch.randn(64, 4, 3, generator=generator)
    local[:, 0] += z[:, :3]
    return Features(local.half(), z, torch.arange(4), 1.0)


def fit(decays: int, state: Any = None) -> tuple[Critic, int, dict[int, Any]]:
    """The critic, the steps made, and the state after each."""
    torch.manual_seed(0)
    scales = (Standardise(torch.zeros(size), torch.ones(size)) for size in (3, 4))
    critic = Critic(*scales, (2, 2), CriticShape(width=8, dimension=6))
    settings = CriticSettings(
        steps=400, images=16, places=4, learning_rate=0.3, validate_every=5, patience=2, decays=decays
    )
    steps: list[int] = []
    states: dict[int, Any] = {}

    def keep(step: int, take: Any) -> None:
        if step % 3 == 0:
            states[step] = copy.deepcopy(take())

    task = CriticTask(features(0), features(1))
    fit_critic(critic, task, settings, lambda step, nats: steps.append(step), Continuation(state, keep))
    return critic, steps[-1], states


def rate(state: Any) -> float:
    return float(state["optimiser"]["param_groups"][0]["lr"])


def test_without_decays_it_stops_and_with_them_it_goes_on_at_a_lower_rate() -> None:
    _, stopped, _ = fit(0)
    _, went_on, states = fit(2)
    assert stopped < went_on <= 400
    rates = sorted({round(rate(state), 6) for state in states.values()}, reverse=True)
    assert rates == pytest.approx([0.3 * DECAY**count for count in range(3)])


def test_a_fit_that_was_stopped_goes_on_with_the_rate_and_count_it_had() -> None:
    critic, steps, states = fit(2)
    first = min(step for step, state in states.items() if state["best"]["decays"] > 0)
    again, steps_again, _ = fit(2, states[first])
    assert steps_again == steps
    assert all(torch.equal(a, b) for a, b in zip(critic.parameters(), again.parameters(), strict=True))
