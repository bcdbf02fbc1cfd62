"""Is the estimate of the total information right? A null, and a second estimator, on the same local features.

Both are fitted anew, on features that are computed once: a sample of places of every image, and its representation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.explanation.milr import MILR
from milr.explanation.modules import sample_locations
from milr.information.bottleneck import VariationalBottleneck, gaussian_log_likelihood
from milr.information.infomax import Critic, batch_information
from milr.information.statistics import Standardise
from milr.information.units import bits
from milr.information.whitening import Whitening, fit_whitening
from milr.networks.layers import LayerPair
from milr.seeding import seeded

PLACES = 64  # of each image
IMAGES = 64  # K of a step and of the estimate: its cap is log2 of it
RATE = 1e-3


@dataclass(frozen=True)
class Features:
    """Local features at some places of n images, and the images' representations."""

    local: Tensor  # [n, C, L, 1]
    representation: Tensor  # [n, D]


@torch.no_grad()
def sample_features(layers: LayerPair, batches: Iterable[Tensor], seed: int) -> Features:
    """From batches of images [K, 3, S, S]."""
    generator = torch.Generator().manual_seed(seed)
    _, height, width = layers.local_shape
    each = min(PLACES, height * width)
    local, representation = [], []
    for images in batches:
        first = layers.first_pass(images)
        chosen = sample_locations(first.local, each, generator).view(len(images), each, -1)
        local.append(chosen.transpose(1, 2)[..., None])
        representation.append(first.representation)
    return Features(torch.cat(local), torch.cat(representation))


def infomax_bits(explainer: MILR, train: Features, held_out: Features, steps: int, shuffled: bool, seed: int) -> float:
    """Mean i(x; z) in bits on held-out pairs, by eq. 2 and 3 with a critic fitted to `train` alone.

    `shuffled`: a null. The critic is fitted on pairs (x, z) whose partners are drawn at random in every step, the own
    one as likely as any, as in the denominator: there is nothing to learn, and true held-out pairs must get about 0.
    (A critic of true pairs shown shuffled ones is no null.)
    """
    generator = torch.Generator().manual_seed(seed)
    modules, settings = explainer.modules, explainer.settings.infomax
    with seeded(seed):
        standardise = modules.critic.representation[0]
        assert isinstance(standardise, Standardise)
        critic = Critic(modules.local, standardise, settings.width, settings.dimension).to(train.local.device)
    optimiser = torch.optim.Adam(critic.parameters(), lr=RATE)
    for _ in range(steps):
        chosen = torch.randperm(len(train.local), generator=generator)[:IMAGES].to(train.local.device)
        partners = chosen[torch.randperm(len(chosen), generator=generator)] if shuffled else chosen
        loss = -information(critic, train.local[chosen], train.representation[partners])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    # Pictures lie class by class: among those of few classes alone, the denominator would be too high.
    order = torch.randperm(len(held_out.local), generator=generator).to(held_out.local.device)
    with torch.no_grad():
        parts = [(held_out.local[part], held_out.representation[part]) for part in order.split(IMAGES)]
        means = [information(critic, local, z) for local, z in parts if len(local) == min(IMAGES, len(order))]
    return bits(float(torch.stack(means).mean()))


def information(critic: Critic, local: Tensor, representation: Tensor) -> Tensor:
    """The mean of i(x; z) in nats of pairs [K, C, L, 1] and [K, D]."""
    return batch_information(critic.project_local(local), critic.project_representation(representation)).mean()


def gaussian_bits(explainer: MILR, train: Features, held_out: Features, steps: int, seed: int) -> float:
    """A second estimate of the mean I(x_i; z), in bits: E[log p(z~|x) - log q(z~)] on held-out pairs.

    p is the bottleneck of eq. 8, fitted by likelihood to untouched features; q = N(0, I); z~ is whitened on `train`.
    Where q is the marginal it is a lower bound (Barber, Agakov 2003); where held-out z~ are not spread as q says, it is
    too high by KL(p(z~) || q). It sees the information that a diagonal Gaussian can tell, about z~ and not all of z.
    """
    generator = torch.Generator().manual_seed(seed)
    settings = explainer.settings.bottleneck
    whitening = fit_whitening(train.representation, settings.whitening_share)
    with seeded(seed):
        local = explainer.modules.local
        bottleneck = VariationalBottleneck(local, whitening.projection.shape[1], settings.width).to(train.local.device)
    optimiser = torch.optim.Adam(bottleneck.parameters(), lr=RATE)
    for _ in range(steps):
        chosen = torch.randperm(len(train.local), generator=generator)[:IMAGES].to(train.local.device)
        loss = -log_ratio(bottleneck, whitening, Features(train.local[chosen], train.representation[chosen]))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():
        return bits(float(log_ratio(bottleneck, whitening, held_out)))


def log_ratio(bottleneck: VariationalBottleneck, whitening: Whitening, features: Features) -> Tensor:
    """Mean of log p(z~|x) - log q(z~) in nats."""
    whitened = whitening(features.representation)
    mean, log_sigma = bottleneck(features.local)
    conditional = gaussian_log_likelihood(mean, log_sigma, whitened).mean()
    return conditional + 0.5 * whitened.square().sum(1).mean()  # -log q, without the constant that p lacks too
