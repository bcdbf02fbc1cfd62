"""Episodes of a prototypical network as batches for the fit."""

from __future__ import annotations

import torch
from torch import Tensor

from milr.data.augmentation import augment, to_device, to_input
from milr.data.episodes import Episode, draw_episode
from milr.data.pictures import Pictures
from milr.data.settings import Augmentation
from milr.explanation.fitting import Batch, Decision
from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings


def episode_decision(way: int, shot: int, query: int, metric: MetricSettings, centre: Tensor | None) -> Decision:
    """The network's own objective: queries against the prototypes, from outputs [way·shot + way·query, E].

    Supports come first, class by class. `centre` [E] is the training images' mean representation, for a metric that
    subtracts it.
    """
    supports = way * shot
    labels = torch.arange(way).repeat_interleave(query)

    def decide(output: Tensor) -> tuple[Tensor, Tensor]:
        prototype = prototypes(output[:supports].view(way, shot, -1), metric, centre)
        return logits(output[supports:], prototype, metric, centre), labels.to(output.device)

    return decide


def episode_images(pictures: Pictures, episode: Episode) -> Tensor:
    """An episode's pictures in the order of `episode_decision`: uint8 [way·shot + way·query, 3, S, S]."""
    return pictures.chosen(torch.cat([episode.support.flatten(), episode.query.flatten()]))


class EpisodeBatches:
    """Batch of step k: episode k of these pictures, augmented; a function of (seed, k) alone."""

    def __init__(
        self,
        pictures: Pictures,
        shape: tuple[int, int, int],  # way, shot, query
        metric: MetricSettings,
        centre: Tensor | None,
        augmentation: Augmentation | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.pictures, self.shape, self.augmentation = pictures, shape, augmentation
        self.decide = episode_decision(*shape, metric, centre)
        self.seed, self.device = seed, device

    def __call__(self, step: int) -> Batch:
        episode = draw_episode(self.pictures.labels, *self.shape, seed=self.seed, number=step)
        images = to_device(episode_images(self.pictures, episode), self.device)
        if self.augmentation:
            return Batch(augment(images, self.augmentation, seed=f"{self.seed}:{step}"), self.decide)
        return Batch(to_input(images), self.decide)


def permute_supports(batch: Batch, way: int, shot: int, seed: int) -> Batch:
    """The same episode with its supports under wrong labels: class c's stand where another class's should.

    Every class gets another one's, the classes turned by a number drawn from the seed.
    """
    turn = int(torch.randint(1, way, (), generator=torch.Generator().manual_seed(seed)))
    order = torch.arange(way * shot).view(way, shot).roll(turn, 0).flatten()
    images = torch.cat([batch.images[order.to(batch.images.device)], batch.images[way * shot :]])
    return Batch(images, batch.decide, batch.modules)


def query_distances(
    output: Tensor, shape: tuple[int, int, int], metric: MetricSettings, centre: Tensor | None
) -> Tensor:
    """Each query's distance to each prototype [way·query, way]: squared Euclidean, or 1 - cosine."""
    scores, _ = episode_decision(*shape, metric, centre)(output)
    return (1 if metric.distance == "cosine" else 0) - scores * metric.temperature
