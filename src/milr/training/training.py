"""Episodic training of a prototypical network (Snell et al. 2017), readable from top to bottom."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from milr.errors import MilrError
from milr.networks.settings import MetricSettings
from milr.training.continuation import Continuation, State
from milr.training.distributed import average, copy_from_first, rank, world
from milr.training.episodes import EpisodicTask, episode_inputs, episode_loss, forward_pass
from milr.training.finite import FiniteCheck
from milr.training.optimisers import build_optimiser, freeze, rate
from milr.training.selection import Selection, Trained
from milr.training.settings import Training


@dataclass(frozen=True)
class Step:
    """One optimiser step's numbers, left on the device until somebody asks."""

    number: int
    loss: Tensor
    accuracy: Tensor


@dataclass(frozen=True)
class Progress:
    """Everything that changes from step to step: the batches are functions of the seed and the step."""

    network: nn.Module
    optimiser: Optimizer
    schedule: LambdaLR
    selection: Selection

    def snapshot(self, step: int) -> State:
        """All that the training needs to go on after `step`."""
        best = self.selection.best
        return {
            "step": step,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": {"weights": best.weights, "step": best.step, "accuracy": best.accuracy},
        }

    def resume(self, state: State) -> None:
        """Puts back what `snapshot` took, the best so far on the network's device."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        best = state["best"]
        weights = {name: value.to(self.selection.device) for name, value in best["weights"].items()}
        self.selection.resume(Trained(weights, best["step"], best["accuracy"]))


def train_prototypical(
    network: nn.Module,
    task: EpisodicTask,
    training: Training,
    validate: Callable[[nn.Module], float],
    on_step: Callable[[Step], None] | None = None,
    on_validation: Callable[[int, float, bool], None] | None = None,
    continuation: Continuation | None = None,
) -> Trained:
    """Trains the network in place; `validate` gives its accuracy on the validation classes.

    `on_validation(step, accuracy, best)` is called at every validation. The network ends as it was at the best one, or
    with `interpolate` between its first weights and those, its `eval()`. MilrError if the loss or a validation is not
    finite; the network is then in its best state so far. With a state in `continuation` the training goes on after its
    step, as if it had not been stopped.

    In a process group every process calls this and ends with the same network: a step of W processes is one over
    W · episodes_per_step episodes, and the first process alone validates.
    """
    device, steps = next(network.parameters()).device, steps_of(training)
    # The training images' mean is known only after the training: the metric centres in tests alone.
    metric = replace(task.metric, centre=False)
    copy_from_first(network)
    first_weights = copy.deepcopy(network.state_dict()) if training.interpolate else None
    selection = Selection(network, validate, on_validation, device)
    progress = begin(network, training, selection)
    forward, finite = forward_pass(network, training, device), FiniteCheck(device)

    continuation = continuation or Continuation()
    if continuation.state:
        progress.resume(continuation.state)
    else:
        selection.update(0)
    for step in range(continuation.done + 1, steps + 1):
        network.train(training.batch_norm == "train")
        loss, accuracy = take_step(progress, forward, step_inputs(step, task, training, device), training, metric)
        finite.update(step, loss)
        validates = step % training.validate_every == 0 or step == steps
        if validates or device.type == "cpu":  # reading a loss waits for a GPU: not at every step
            require_finite(finite, selection)
        if on_step:
            on_step(Step(step, loss, accuracy))
        if validates:
            average_statistics(network, training)
            selection.update(step)
        continuation.on_state(step, partial(progress.snapshot, step))

    if first_weights:
        selection.interpolate(first_weights)
    selection.restore()
    network.requires_grad_(True).eval()
    return selection.best


def begin(network: nn.Module, training: Training, selection: Selection) -> Progress:
    """The progress of a training before its first step; `train.freeze` then holds for the network's parameters."""
    optimiser = build_optimiser(freeze(network, tuple(training.freeze)), training)
    steps = steps_of(training)
    schedule = LambdaLR(optimiser, lambda step: rate(step, steps, training))
    return Progress(network, optimiser, schedule, selection)


def step_inputs(step: int, task: EpisodicTask, training: Training, device: torch.device) -> Tensor:
    """The pictures of the episodes that this process sees in a step, counted from 1: float32 [K, 3, S, S]."""
    first = ((step - 1) * world() + rank()) * training.episodes_per_step
    numbers = range(first, first + training.episodes_per_step)
    return torch.cat([episode_inputs(task, training, number, device) for number in numbers])


def take_step(
    progress: Progress,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    training: Training,
    metric: MetricSettings,
) -> tuple[Tensor, Tensor]:
    """One optimiser step by the gradients' mean over the processes; the mean loss and accuracy of its episodes."""
    progress.optimiser.zero_grad(set_to_none=True)
    loss, accuracy = episode_loss(forward(inputs), training, metric)
    torch.autograd.backward(loss)
    loss = loss.detach()
    average([loss, accuracy, *(p.grad for p in progress.network.parameters() if p.grad is not None)])
    progress.optimiser.step()
    progress.schedule.step()
    return loss, accuracy


def require_finite(finite: FiniteCheck, selection: Selection) -> None:
    """MilrError if a loss was not finite; the network is then in its best state so far."""
    if bad := finite.first():
        selection.restore()
        raise MilrError(f"the loss is {bad.loss} at step {bad.step}: lower train.learning_rate")


def average_statistics(network: nn.Module, training: Training) -> None:
    """Gives every process the mean of batch normalisation's statistics: each has seen other episodes."""
    if training.batch_norm == "train":
        average([buffer for buffer in network.buffers() if buffer.is_floating_point()])


def steps_of(training: Training) -> int:
    """The optimiser steps that see all episodes, of all processes together."""
    return math.ceil(training.episodes / (training.episodes_per_step * world()))
