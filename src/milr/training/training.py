"""Episodic training of a prototypical network (Snell et al. 2017), readable from top to bottom."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from milr.data.augmentation import augment, to_device, to_input
from milr.data.episodes import draw_episode
from milr.data.pictures import Pictures
from milr.data.settings import Augmentation
from milr.errors import MilrError
from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings
from milr.training.continuation import Continuation, State
from milr.training.distributed import average, copy_from_first, from_first, rank, world
from milr.training.finite import FiniteCheck
from milr.training.interpolation import SHARES, between
from milr.training.settings import Training
from milr.training.winograd import FewerProducts


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
    share: float = 1.0  # of the way from the first weights to those of the step


def train_prototypical(
    network: nn.Module,
    pictures: Pictures,
    metric: MetricSettings,
    training: Training,
    augmentation: Augmentation | None,
    validate: Callable[[nn.Module], float],
    on_step: Callable[[Step], None] | None = None,
    on_validation: Callable[[int, float, bool], None] | None = None,
    continuation: Continuation | None = None,
) -> Trained:
    """Trains the network in place on `pictures`; `validate` gives its accuracy on the validation classes.

    `on_validation(step, accuracy, best)` is called at every validation. The network ends as it was at the best one, or
    with `interpolate` between its first weights and those, its `eval()`. MilrError if the loss or a validation is not
    finite; the network is then in its best state so far. With a state in `continuation` the training goes on after its
    step, as if it had not been stopped.

    In a process group every process calls this and ends with the same network: a step of W processes is one over
    W · episodes_per_step episodes, and the first process alone validates.
    """
    device = next(network.parameters()).device
    # The training images' mean is known only after the training: the metric centres in tests alone.
    metric = replace(metric, centre=False)
    steps = steps_of(training)
    copy_from_first(network)
    begun = copy.deepcopy(network.state_dict()) if training.interpolate else {}
    parameters = freeze(network, tuple(training.freeze))
    optimiser = build_optimiser(parameters, training)
    schedule = LambdaLR(optimiser, lambda step: rate(step, steps, training))

    forward = forward_pass(network, training, device)
    finite = FiniteCheck(device)

    continuation = continuation or Continuation()
    if continuation.state:
        done, best = restore(continuation.state, network, optimiser, schedule)
    else:
        result = from_first(lambda: validate(network), device)
        done, best = 0, Trained(copy.deepcopy(network.state_dict()), 0, result)
        if on_validation:
            on_validation(0, best.accuracy, True)
    for step in range(done + 1, steps + 1):
        network.train(training.batch_norm == "train")
        first = ((step - 1) * world() + rank()) * training.episodes_per_step
        numbers = range(first, first + training.episodes_per_step)
        inputs = torch.cat([episode_inputs(pictures, training, augmentation, number, device) for number in numbers])
        loss, accuracy = episode_loss(forward(inputs), training, metric)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        loss = loss.detach()
        average([loss, accuracy, *(parameter.grad for parameter in parameters if parameter.grad is not None)])
        optimiser.step()
        schedule.step()
        validates = step % training.validate_every == 0 or step == steps
        finite.see(step, loss)
        # Reading a loss waits for a GPU: not at every step.
        if (validates or device.type == "cpu") and (bad := finite.first()):
            network.load_state_dict(best.weights)
            raise MilrError(f"the loss is {bad.loss} at step {bad.step}: lower train.learning_rate")
        if on_step:
            on_step(Step(step, loss, accuracy))
        if validates:
            if training.batch_norm == "train":  # each process has seen other episodes
                average([buffer for buffer in network.buffers() if buffer.is_floating_point()])
            result = from_first(partial(validated, network, validate, best), device)
            if result > best.accuracy:
                best = Trained(copy.deepcopy(network.state_dict()), step, result)
            if on_validation:
                on_validation(step, result, best.step == step)
        continuation.on_state(step, partial(snapshot, step, network, optimiser, schedule, best))
    tried = [best]
    for share in SHARES if training.interpolate and best.step else ():
        weights = between(begun, best.weights, share)
        network.load_state_dict(weights)
        result = from_first(partial(validated, network, validate, best), device)
        tried.append(Trained(weights, best.step, result, share))
    best = max(tried, key=lambda trained: trained.accuracy)
    network.load_state_dict(best.weights)
    network.requires_grad_(True).eval()
    return best


def steps_of(training: Training) -> int:
    """The optimiser steps that see all episodes, of all processes together."""
    return math.ceil(training.episodes / (training.episodes_per_step * world()))


def validated(network: nn.Module, validate: Callable[[nn.Module], float], best: Trained) -> float:
    """The accuracy on the validation classes; an error of it leaves the network in its best state so far."""
    try:
        return validate(network)
    except MilrError:
        network.load_state_dict(best.weights)
        raise


def snapshot(step: int, network: nn.Module, optimiser: Optimizer, schedule: LambdaLR, best: Trained) -> State:
    """All that the training needs to go on after `step`: its batches are functions of the seed and the step."""
    return {
        "step": step,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "best": {"weights": best.weights, "step": best.step, "accuracy": best.accuracy},
    }


def restore(state: State, network: nn.Module, optimiser: Optimizer, schedule: LambdaLR) -> tuple[int, Trained]:
    """Puts back what `snapshot` took; returns its step and the best so far, on the network's device."""
    device = next(network.parameters()).device
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    best = state["best"]
    weights = {name: value.to(device) for name, value in best["weights"].items()}
    return state["step"], Trained(weights, best["step"], best["accuracy"])


def episode_inputs(
    pictures: Pictures, training: Training, augmentation: Augmentation | None, number: int, device: torch.device
) -> Tensor:
    """Episode `number`'s pictures, class by class, supports first: float32 [way · (shot + query), 3, S, S]."""
    shape = (training.way, training.shot, training.query)
    episode = draw_episode(pictures.labels, *shape, seed=training.seed, number=number)
    images = to_device(pictures.chosen(torch.cat([episode.support, episode.query], dim=1).flatten()), device)
    if augmentation:
        return augment(images, augmentation, f"{training.seed}:{number}", pictures.normalisation)
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


def freeze(network: nn.Module, beginnings: tuple[str, ...]) -> list[nn.Parameter]:
    """Takes the gradients from the parameters under these names; returns the others. MilrError for a name of none.

    A beginning that ends in a digit ends a number: blocks.1 is not blocks.10.
    """
    network.requires_grad_(True)
    names = [name for name, _ in network.named_parameters()]
    patterns = [re.compile(re.escape(start) + r"(?!(?<=\d)\d)") for start in beginnings]
    unknown = [start for start, p in zip(beginnings, patterns, strict=True) if not any(map(p.match, names))]
    if unknown:
        raise MilrError(f"train.freeze names {', '.join(unknown)}, with which no parameter of the network begins")
    for name, parameter in network.named_parameters():
        if any(pattern.match(name) for pattern in patterns):
            parameter.requires_grad_(False)
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not free:
        raise MilrError("train.freeze leaves no parameter to train")
    return free


def build_optimiser(parameters: list[nn.Parameter], training: Training) -> Optimizer:
    """The optimiser by its name; fused: one pass over each parameter instead of several."""
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay, fused=True)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)


def rate(step: int, steps: int, training: Training) -> float:
    """The share of the learning rate at a step (from 0)."""
    warm = min(1.0, (step + 1) / (training.warmup + 1))
    if training.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    if training.schedule == "step":
        return warm * 0.5 ** (5 * step // max(1, steps))
    return warm
