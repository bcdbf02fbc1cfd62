"""What a training step computes: the pictures of its episodes, their pass through the network, and the loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from milr.data.augmentation import augment, to_device, to_input
from milr.data.episodes import draw_episode
from milr.data.pictures import Pictures
from milr.data.settings import Augmentation
from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings
from milr.training.settings import Training
from milr.training.winograd import FewerProducts


@dataclass(frozen=True)
class EpisodicTask:
    """What a network is trained to do: tell the classes of episodes apart.

    Attributes:
        pictures: that the episodes are drawn from.
        metric: how queries are compared with prototypes.
        augmentation: how the pictures are changed; None: not at all.
    """

    pictures: Pictures
    metric: MetricSettings
    augmentation: Augmentation | None = None


def episode_inputs(task: EpisodicTask, training: Training, number: int, device: torch.device) -> Tensor:
    """Episode `number`'s pictures, class by class, supports first: float32 [way · (shot + query), 3, S, S]."""
    pictures, shape = task.pictures, (training.way, training.shot, training.query)
    episode = draw_episode(pictures.labels, *shape, seed=training.seed, number=number)
    images = to_device(pictures.chosen(torch.cat([episode.support, episode.query], dim=1).flatten()), device)
    if task.augmentation:
        return augment(images, task.augmentation, f"{training.seed}:{number}", pictures.normalisation)
    return to_input(images, normalisation=pictures.normalisation)


def forward_pass(network: nn.Module, training: Training, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network as it is trained: inputs [K, 3, S, S] -> float32 [K, D], in the fastest way known on this device.

    On a CPU its features lie channels last in memory: a network that flattens them needs `flatten`, not `view`.
    """
    called = torch.compile(network) if training.compile else network
    bfloat16, on_cpu = training.precision == "bfloat16", device.type == "cpu"
    fewer = training.winograd and on_cpu and not training.compile and not bfloat16

    def forward(inputs: Tensor) -> Tensor:
        """[K, 3, S, S] -> float32 [K, D]."""
        if on_cpu:  # convolutions, and sums over channels, take less time so
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), FewerProducts() if fewer else nullcontext():
            return called(inputs).float()

    return forward


def episode_loss(representation: Tensor, training: Training, metric: MetricSettings) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of the queries, from [episodes · way · (shot + query), D] in that order.

    With `rotate` the pictures of each class take turns as supports, in as many turns as there are pictures.
    """
    each = training.shot + training.query
    episodes = representation.view(-1, training.way, each, representation.shape[-1])
    labels = torch.arange(training.way, device=representation.device).repeat_interleave(training.query)
    labels = labels.repeat(len(episodes))
    losses, hits = [], []
    for turn in range(each if training.rotate else 1):
        turned = episodes.roll(-turn, dims=2)
        support, query = turned[:, :, : training.shot], turned[:, :, training.shot :]
        scores = logits(query.flatten(1, 2), prototypes(support, metric), metric).flatten(0, 1)
        losses.append(cross_entropy(scores, labels))
        hits.append((scores.argmax(1) == labels).float().mean())
    return torch.stack(losses).mean(), torch.stack(hits).mean()
