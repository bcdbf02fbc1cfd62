"""Episodic training of a prototypical network (Snell et al. 2017), readable from top to bottom."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from milr.data.augmentation import Augmentation, augment, to_input
from milr.data.episodes import draw_episode
from milr.data.pictures import Pictures
from milr.errors import MilrError
from milr.networks.prototypes import Metric, logits, prototypes


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    episodes: int  # drawn in all; 0: keep the weights as they are
    way: int  # classes in an episode; may be more than in the episodes it is tested on
    shot: int  # supports of each class
    query: int  # queries of each class
    episodes_per_step: int = 1  # episodes whose gradients make one optimiser step
    rotate: bool = False  # let every picture of an episode be a support once: more to learn from the same forward pass
    optimizer: str = "adam"  # adam | adamw | sgd (momentum 0.9)
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "cosine"  # cosine: down to zero | step: halved at each fifth of the steps | constant
    warmup: int = 0  # steps over which the learning rate rises from zero
    precision: str = "float32"  # float32 | bfloat16: of the forward pass
    freeze: tuple[str, ...] = ()  # beginnings of the names of modules that keep their weights
    batch_norm: str = "train"  # train: statistics of the batch | eval: those that the weights came with
    validate_every: int = 100  # steps
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """One optimiser step's numbers, left on the device until somebody asks."""

    number: int
    loss: Tensor
    accuracy: Tensor


@dataclass(frozen=True)
class Trained:
    """The state that did best on the validation classes."""

    weights: dict[str, Tensor]
    step: int
    accuracy: float


def train_prototypical(
    network: nn.Module,
    pictures: Pictures,
    metric: Metric,
    training: Training,
    augmentation: Augmentation | None,
    validate: Callable[[nn.Module], float],
    on_step: Callable[[Step], None] | None = None,
    on_validation: Callable[[int, float, bool], None] | None = None,
) -> Trained:
    """Trains the network in place on `pictures`; `validate` gives its accuracy on the validation classes.

    `on_validation(step, accuracy, best)` is called at every look. The network ends as it was at the best one, its
    `eval()`. MilrError if the loss or a validation is not finite; the network is then in its best state so far.
    """
    device = next(network.parameters()).device
    # The training images' mean is known only after the training: the metric centres in tests alone.
    metric = replace(metric, centre=False)
    steps = math.ceil(training.episodes / training.episodes_per_step)
    parameters = freeze(network, training.freeze)
    optimiser = build_optimiser(parameters, training)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, steps, training))

    best = Trained(copy.deepcopy(network.state_dict()), 0, validate(network))
    if on_validation:
        on_validation(0, best.accuracy, True)
    for step in range(1, steps + 1):
        network.train(training.batch_norm == "train")
        first = (step - 1) * training.episodes_per_step
        numbers = range(first, first + training.episodes_per_step)
        images = torch.cat([episode_images(pictures, training, augmentation, number) for number in numbers])
        inputs = to_input(images.to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            representation = network(inputs)
        loss, accuracy = episode_loss(representation.float(), training, metric)
        if not torch.isfinite(loss):
            network.load_state_dict(best.weights)
            raise MilrError(f"the loss is {loss.item()} at step {step}: lower train.learning_rate")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if on_step:
            on_step(Step(step, loss.detach(), accuracy))
        if step % training.validate_every == 0 or step == steps:
            found = look(network, validate, best)
            if found > best.accuracy:
                best = Trained(copy.deepcopy(network.state_dict()), step, found)
            if on_validation:
                on_validation(step, found, best.step == step)
    network.load_state_dict(best.weights)
    network.requires_grad_(True).eval()
    return best


def look(network: nn.Module, validate: Callable[[nn.Module], float], best: Trained) -> float:
    """The accuracy on the validation classes; an error of it leaves the network in its best state so far."""
    try:
        return validate(network)
    except MilrError:
        network.load_state_dict(best.weights)
        raise


def episode_images(pictures: Pictures, training: Training, augmentation: Augmentation | None, number: int) -> Tensor:
    """Episode `number`'s pictures, class by class, supports first: uint8 [way · (shot + query), 3, S, S]."""
    shape = (training.way, training.shot, training.query)
    episode = draw_episode(pictures.labels, *shape, seed=training.seed, number=number)
    images = pictures.images[torch.cat([episode.support, episode.query], dim=1).flatten()]
    return augment(images, augmentation, f"{training.seed}:{number}") if augmentation else images


def episode_loss(representation: Tensor, training: Training, metric: Metric) -> tuple[Tensor, Tensor]:
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


def freeze(network: nn.Module, beginnings: tuple[str, ...]) -> list[nn.Parameter]:
    """Takes the gradients from the parameters under these names; returns the others. MilrError for a name of none."""
    network.requires_grad_(True)
    names = [name for name, _ in network.named_parameters()]
    unknown = [start for start in beginnings if not any(name.startswith(start) for name in names)]
    if unknown:
        raise MilrError(f"train.freeze names {', '.join(unknown)}, with which no parameter of the network begins")
    for name, parameter in network.named_parameters():
        if name.startswith(beginnings) and beginnings:
            parameter.requires_grad_(False)
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not free:
        raise MilrError("train.freeze leaves no parameter to train")
    return free


def build_optimiser(parameters: list[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """The optimiser by its name."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)


def rate(step: int, steps: int, training: Training) -> float:
    """The share of the learning rate at a step (from 0)."""
    warm = min(1.0, (step + 1) / (training.warmup + 1))
    if training.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    if training.schedule == "step":
        return warm * 0.5 ** (5 * step // max(1, steps))
    return warm
