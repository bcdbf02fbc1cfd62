"""Gaussian pairs (x_i, z) whose information is known in closed form, and critics fitted to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from milr.explanation.critic_fitting import CriticTask, fit_critic
from milr.explanation.features import Features
from milr.explanation.settings import CriticSettings
from milr.information.critic import Critic, CriticShape
from milr.information.statistics import Standardise


def correlation_of(nats: float, dimensions: int) -> float:
    """Of each of the dimensions: I = -d/2 · ln(1 - rho²)."""
    return math.sqrt(1 - math.exp(-2 * nats / dimensions))


def gaussian_features(images: int, correlation: Tensor, dimensions: int, seed: int) -> Features:
    """x_i = rho_i z + sqrt(1 - rho_i²) noise, in each dimension: the same z, and at each place its own rho [N].

    Both sides are told with their squares: log p(z|x)/p(z) is a polynomial of both, but the critic is linear in z.
    """
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(images, dimensions, generator=generator)
    noise = torch.randn(images, len(correlation), dimensions, generator=generator)
    rho = correlation[None, :, None]
    local = rho * z[:, None] + (1 - rho**2).sqrt() * noise
    local, z = (torch.cat([values, (values.square() - 1) / math.sqrt(2)], -1) for values in (local, z))
    return Features(local.half(), z, torch.arange(len(correlation)), 1.0)


def plain_critic(dimensions: int, grid: tuple[int, int], place: bool = True, size: int | None = None) -> Critic:
    """Not fitted; `size` dimensions of z, as many as channels where it is None."""
    size = dimensions if size is None else size
    torch.manual_seed(0)
    scales = (Standardise(torch.zeros(count), torch.ones(count)) for count in (dimensions, size))
    return Critic(*scales, grid, CriticShape(width=64, dimension=16, place=place))


def fitted_critic(
    train: Features, held_out: Features, denominator: str, settings: CriticSettings, place: bool = True
) -> tuple[Critic, CriticTask]:
    """A critic fitted to the pairs, and its task."""
    critic = plain_critic(train.local.shape[2], (1, len(train.places)), place, train.representation.shape[1])
    task = CriticTask(train, held_out, denominator=denominator)
    fit_critic(critic, task, settings)
    return critic, task
