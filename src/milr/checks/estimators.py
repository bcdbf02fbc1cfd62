"""Is the estimate of the total information right? A null, and estimators of another kind, on the same features."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from milr.checks.critic_fits import timed_fit
from milr.errors import MilrError
from milr.explanation.bars import critic_bar
from milr.explanation.critic_fitting import CriticTask, fit_critic, held_out_nats
from milr.explanation.features import Features, FeatureStore, Sample
from milr.explanation.milr import MILR
from milr.explanation.modules import critic_of
from milr.explanation.progress import Best
from milr.explanation.settings import CriticSettings
from milr.information.bottleneck import VariationalBottleneck, gaussian_log_likelihood
from milr.information.critics import AnyCritic, members_of
from milr.information.units import bits
from milr.information.whitening import Whitening, fit_whitening
from milr.seeding import seeded


@torch.no_grad()
def features_of(explainer: MILR, batches: Iterable[Tensor], images: int) -> Features:
    """Features of `images` images in batches [K, 3, S, S], held as `prepare` holds those of the training images."""
    layers, infomax = explainer.layers, explainer.settings.infomax
    store = FeatureStore(layers, images, infomax.memory_gib, infomax.disk_gib)
    for batch in batches:
        store.add(layers.first_pass(batch))
    return store.features()


def new_critic(explainer: MILR, seed: int, estimator: str | None = None) -> AnyCritic:
    """A critic like the explainer's, not fitted; of another estimator where one is named."""
    modules, infomax = explainer.modules, explainer.settings.infomax
    critic = members_of(modules.critic)[0]
    scales = critic.standardise, critic.standardise_representation
    with seeded(seed):
        settings = replace(infomax, estimator=estimator or infomax.estimator)
        return critic_of(settings, *scales, explainer.layers.grid).to(modules.bank.local.device)


def estimator_bits(
    explainer: MILR, train: Features, held_out: Features, settings: CriticSettings, estimator: str, seed: int
) -> float:
    """The mean information in bits that another estimator finds in held-out images, with a critic of its own."""
    critic = new_critic(explainer, seed, estimator)
    task = CriticTask(train, held_out, estimator, explainer.settings.infomax.denominator, seed)
    return timed_fit(critic, task, settings).bits


def null_bits(explainer: MILR, train: Features, held_out: Features, settings: CriticSettings, seed: int) -> float:
    """What a critic finds in held-out pairs, in bits, that was fitted to shuffled pairs: about 0.

    (A critic of true pairs shown shuffled ones is no null: its mean is far below 0.)
    """
    critic, infomax = new_critic(explainer, seed), explainer.settings.infomax
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))
    shuffled = replace(held_out, representation=held_out.representation[order])
    task = CriticTask(train, shuffled, infomax.estimator, infomax.denominator, seed, shuffled=True)
    with critic_bar("critic", settings.steps) as on_step:
        fit_critic(critic, task, settings, on_step)
    return bits(held_out_nats(critic, replace(task, held_out=held_out), settings.images))


def gaussian_bits(explainer: MILR, train: Features, held_out: Features, settings: CriticSettings, seed: int) -> float:
    """A second estimate of the mean I(x_i; z), in bits: E[log p(z~|x) - log q(z~)] on held-out pairs.

    p is the bottleneck of eq. 8, fitted by likelihood to untouched features; q = N(0, I); z~ is whitened on `train`.
    Where q is the marginal it is a lower bound (Barber, Agakov 2003); where held-out z~ are not spread as q says, it is
    too high by KL(p(z~) || q). It sees the information that a diagonal Gaussian can tell, about z~ and not all of z.
    As a critic it stops when the held-out value has stalled, and gives the best one.
    """
    generator = torch.Generator().manual_seed(seed)
    bottleneck_settings = explainer.settings.bottleneck
    device = explainer.modules.bank.local.device
    whitening = fit_whitening(train.representation.to(device), bottleneck_settings.whitening_share)
    with seeded(seed):
        local, size = explainer.modules.local, whitening.projection.shape[1]
        bottleneck = VariationalBottleneck(local, size, bottleneck_settings.width).to(device)
    optimiser, best = torch.optim.Adam(bottleneck.parameters(), lr=settings.learning_rate), Best(bottleneck)
    everything = torch.arange(len(held_out)), torch.randperm(len(held_out.places), generator=generator)[:64]
    for step in range(1, settings.steps + 1):
        loss = -log_ratio(bottleneck, whitening, train.draw(settings.images, settings.places, generator, device))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if step % settings.validate_every == 0 or step == settings.steps:
            with torch.no_grad():
                best.update(step, -float(log_ratio(bottleneck, whitening, held_out.sample(*everything, device))))
            if settings.patience and best.waited >= settings.patience:
                break
    if not math.isfinite(best.objective):
        raise MilrError("the Gaussian estimate is not finite: lower critic.learning_rate")
    return bits(-best.objective)


def log_ratio(bottleneck: VariationalBottleneck, whitening: Whitening, sample: Sample) -> Tensor:
    """Mean of log p(z~|x) - log q(z~) in nats."""
    whitened = whitening(sample.representation)
    mean, log_sigma = bottleneck(sample.local.transpose(1, 2)[..., None])
    conditional = gaussian_log_likelihood(mean, log_sigma, whitened).mean()
    return conditional + 0.5 * whitened.square().sum(1).mean()  # -log q, without the constant that p lacks too
