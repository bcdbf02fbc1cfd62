"""Which parameters a training moves, by which optimiser, at which rate."""

from __future__ import annotations

import math
import re

import torch
from torch import nn
from torch.optim import Optimizer

from milr.errors import MilrError
from milr.training.settings import Training


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
