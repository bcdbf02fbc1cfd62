"""Episodic training of a prototypical network (Snell et al. 2017), readable from top to bottom."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
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
    parameters = freeze(network, tuple(training.freeze))
    optimiser = build_optimiser(parameters, training)
    schedule = LambdaLR(optimiser, lambda step: rate(step, steps, training))
    forward, finite = forward_pass(network, training, device), FiniteCheck(device)
    selection = Selection(network, validate, on_validation, device)

    continuation = continuation or Continuation()
    if continuation.state:
        restore(continuation.state, network, optimiser, schedule, selection)
    else:
        selection.look(0)
    for step in range(continuation.done + 1, steps + 1):
        network.train(training.batch_norm == "train")
        numbers = episode_numbers(step, training)
        inputs = torch.cat([episode_inputs(task, training, number, device) for number in numbers])
        optimiser.zero_grad(set_to_none=True)
        loss, accuracy = backward(forward, inputs, training, metric, parameters)
        optimiser.step()
        schedule.step()

        validates = step % training.validate_every == 0 or step == steps
        finite.see(step, loss)
        # Reading a loss waits for a GPU: not at every step.
        if (validates or device.type == "cpu") and (bad := finite.first()):
            selection.restore()
            raise MilrError(f"the loss is {bad.loss} at step {bad.step}: lower train.learning_rate")
        if on_step:
            on_step(Step(step, loss, accuracy))
        if validates:
            if training.batch_norm == "train":  # each process has seen other episodes
                average([buffer for buffer in network.buffers() if buffer.is_floating_point()])
            selection.look(step)
        continuation.on_state(step, partial(snapshot, step, network, optimiser, schedule, selection.best))

    if first_weights:
        selection.look_between(first_weights)
    selection.restore()
    network.requires_grad_(True).eval()
    return selection.best


def backward(
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    training: Training,
    metric: MetricSettings,
    parameters: Sequence[nn.Parameter],
) -> tuple[Tensor, Tensor]:
    """Loss and accuracy of a step's episodes; the gradients are then at the parameters, averaged over the processes."""
    loss, accuracy = episode_loss(forward(inputs), training, metric)
    torch.autograd.backward(loss)
    loss = loss.detach()
    average([loss, accuracy, *(parameter.grad for parameter in parameters if parameter.grad is not None)])
    return loss, accuracy


def steps_of(training: Training) -> int:
    """The optimiser steps that see all episodes, of all processes together."""
    return math.ceil(training.episodes / (training.episodes_per_step * world()))


def episode_numbers(step: int, training: Training) -> range:
    """The numbers of the episodes that this process sees in a step, counted from 1."""
    first = ((step - 1) * world() + rank()) * training.episodes_per_step
    return range(first, first + training.episodes_per_step)


def snapshot(step: int, network: nn.Module, optimiser: Optimizer, schedule: LambdaLR, best: Trained) -> State:
    """All that the training needs to go on after `step`: its batches are functions of the seed and the step."""
    return {
        "step": step,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "best": {"weights": best.weights, "step": best.step, "accuracy": best.accuracy},
    }


def restore(state: State, network: nn.Module, optimiser: Optimizer, schedule: LambdaLR, selection: Selection) -> None:
    """Puts back what `snapshot` took, the best so far on the network's device."""
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    best = state["best"]
    weights = {name: value.to(selection.device) for name, value in best["weights"].items()}
    selection.resume(Trained(weights, best["step"], best["accuracy"]))
