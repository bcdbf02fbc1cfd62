"""Which layers of a network a rule of relevance is for, read from one run of it: not from names of architectures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from milr.errors import MilrError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish)
ACTIVATIONS = (*RECTIFIERS, nn.Softplus, nn.Hardswish, nn.Tanh)
# Relevance goes through these as a gradient does: what is chosen or moved keeps its own.
POOLING = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool2d)
PASSING = (*POOLING, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity, nn.Sequential)  # an empty one
LAYERS = frozenset((*CONVOLUTIONS, nn.Linear, *NORMS, *AVERAGES, *ACTIVATIONS, *PASSING))

MakeHook = Callable[[], Any]  # a zennit.core.Hook, which has no types


@dataclass(frozen=True)
class Rules:
    """What makes the rule of each kind of layer; without those of `Linear` all but activations pass gradients on."""

    method: str  # in words
    row: str  # in METHODS
    activations: tuple[type[nn.Module], ...]  # those that the method is defined for
    activation: MakeHook
    linear: Linear | None = None

    def refuse(self, what: str) -> MilrError:
        """The error that says why this method has no map of this network."""
        return MilrError(f"{self.method} has no rule for {what}: leave '{self.row}' out of the baselines")


@dataclass(frozen=True)
class Linear:
    """The rules of what is linear."""

    first: MakeHook  # a layer that sees the pixels
    convolution: MakeHook
    dense: MakeHook
    sum: MakeHook  # of branches, and averages


@dataclass(frozen=True)
class Call:
    """One run of a module that has no modules in it, with its first input and its output."""

    name: str
    module: nn.Module
    input: Any
    output: Any


def calls_of(network: nn.Module, images: Tensor) -> list[Call]:
    """What runs in one pass, in its order."""
    calls: list[Call] = []
    with torch.no_grad(), ExitStack() as hooks:
        for name, module in network.named_modules():
            if next(module.children(), None) is None:

                def keep(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                    """Keeps a call."""
                    calls.append(Call(name, module, inputs[0] if inputs else None, output))

                hooks.enter_context(module.register_forward_hook(keep))
        network(images)
    return calls


def check_layers(calls: Sequence[Call], rules: Rules) -> None:
    """MilrError for a layer that has no rule, and for one that runs again where its rule remembers one run."""
    runs = Counter(call.name for call in calls)
    for call in calls:
        kind, what = type(call.module), f"'{call.name}', a {type(call.module).__name__}"
        if isinstance(call.module, ACTIVATIONS) and kind not in rules.activations:
            raise rules.refuse(what)
        if rules.linear is None or kind in (*ACTIVATIONS, *PASSING):
            continue
        if kind not in LAYERS:  # of torch, or made from it: anything else is watched while it runs
            if kind.__module__.startswith("torch.nn.") or isinstance(call.module, tuple(LAYERS)):
                raise rules.refuse(what)
        elif runs[call.name] > 1:
            raise rules.refuse(f"{what} that runs {runs[call.name]} times in one pass")
        elif kind not in AVERAGES and call.module._parameters.get("weight") is None:
            raise rules.refuse(f"{what} whose weight is no parameter of its own")
    if rules.linear is None and not any(type(call.module) in rules.activations for call in calls):
        raise rules.refuse("a network without layers of ReLU")


def hooks_for(calls: Sequence[Call], rules: Rules) -> dict[str, Any]:
    """The layers' names with their rules."""
    hooks = {call.name: rules.activation() for call in calls if type(call.module) in rules.activations}
    if rules.linear is None:
        return hooks
    weighted = [call for call in calls if type(call.module) in (*CONVOLUTIONS, nn.Linear)]
    for call in weighted:
        dense = type(call.module) is nn.Linear
        sees_pixels = call.input is weighted[0].input
        make = rules.linear.first if sees_pixels else rules.linear.dense if dense else rules.linear.convolution
        hooks[call.name] = make()
    return hooks | {call.name: rules.linear.sum() for call in calls if type(call.module) in AVERAGES}


def pairs_to_merge(calls: Sequence[Call], rules: Rules) -> list[tuple[list[str], str]]:
    """Each batch normalisation with the layer whose output it gets: ([layer], normalisation)."""
    pairs = []
    for norm in (call for call in calls if type(call.module) in NORMS):
        before = [c.name for c in calls if c.output is norm.input and type(c.module) in (*CONVOLUTIONS, nn.Linear)]
        if not before:
            raise rules.refuse(f"'{norm.name}', a batch normalisation that follows no convolution")
        pairs.append((before[:1], norm.name))
    return pairs
