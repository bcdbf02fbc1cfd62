"""A copy of a network through which relevance goes back by a rule for each layer (zennit's hooks and canonizers)."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from zennit.canonizers import NamedMergeBatchNorm
from zennit.composites import NameMapComposite

from milr.errors import MilrError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish)
ACTIVATIONS = (*RECTIFIERS, nn.Softplus, nn.Hardswish, nn.Tanh)
# Relevance goes through these as a gradient does: what is chosen or moved keeps its own.
PASSING = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity)
LAYERS = frozenset((*CONVOLUTIONS, nn.Linear, *NORMS, *AVERAGES, *ACTIVATIONS, *PASSING))
PASSING_FUNCTIONS = frozenset(
    "relu relu_ flatten view reshape permute transpose movedim contiguous clone squeeze unsqueeze cat concat stack "
    "chunk split unbind narrow __getitem__ expand to float dropout max_pool2d adaptive_max_pool2d pad".split()
)
ACTIVATION_FUNCTIONS = frozenset("relu relu_ relu6 leaky_relu prelu elu celu selu gelu silu mish".split())
SUM_FUNCTIONS = frozenset(("add", "add_", "__add__", "__radd__"))
AVERAGE_FUNCTIONS = frozenset(("mean", "avg_pool2d", "adaptive_avg_pool2d"))
TOLERANCE = 1e-3  # of the output's largest value: merging normalisations rounds differently

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
        return MilrError(f"{self.method} has no rule for {what}: leave {self.row} out of the baselines")


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


def propagate(network: nn.Module, images: Tensor, output: Tensor, start: Tensor, rules: Rules) -> Tensor:
    """Sends `start` [K, E], given at a frozen network's output [K, E], back to its images [K, 3, S, S] by the rules.

    It goes through a copy of the network. MilrError for a network with a step that has no rule, and for a copy that
    computes something else once its normalisations are merged.
    """
    try:
        double = copy.deepcopy(network)
    except Exception as error:  # whatever a module of somebody else's raises
        raise rules.refuse(f"a network that cannot be copied ({error})") from error
    if any(isinstance(module, torch.jit.ScriptModule) for module in double.modules()):
        raise rules.refuse("TorchScript, which hides its layers")
    calls = calls_of(double, images[:2])
    check_layers(calls, rules)
    canonizers = [NamedMergeBatchNorm(pairs_to_merge(calls, rules))] if rules.linear else []
    composite = NameMapComposite([((name,), hook) for name, hook in hooks_for(calls, rules).items()], canonizers)
    images, watch = images.detach().clone().requires_grad_(), Watch(rules, [call.module for call in calls])
    with torch.enable_grad(), composite.context(double):
        with watch:
            found = double(images)
        if not torch.allclose(found, output, rtol=0, atol=TOLERANCE * output.abs().max().item()):
            raise rules.refuse("this network, whose copy computes something else once its normalisations are merged")
        (result,) = torch.autograd.grad(found, images, start)  # where the rules are applied
    return result


def calls_of(network: nn.Module, images: Tensor) -> list[Call]:
    """What runs in one pass, in its order."""
    calls: list[Call] = []
    with torch.no_grad(), ExitStack() as hooks:
        for name, module in network.named_modules():
            if next(module.children(), None) is None:

                def keep(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
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


class Watch(TorchFunctionMode):
    """Sees what a network computes outside of its layers: sums get their rule, and what has none is refused."""

    def __init__(self, rules: Rules, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.rules, self.depth, self.hooks = rules, 0, ExitStack()
        self.layers = {id(module): module for module in modules if type(module) in LAYERS}
        self.kept: list[Any] = []  # zennit's hooks are alive only while somebody holds them

    def __enter__(self) -> Watch:
        """Counts the layers that are running: what they compute themselves is left to their own rules."""

        def enter(module: nn.Module, inputs: Any) -> None:
            self.depth += 1

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self.depth -= 1

        for module in self.layers.values():
            self.hooks.enter_context(module.register_forward_pre_hook(enter, prepend=True))
            self.hooks.enter_context(module.register_forward_hook(leave))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.hooks.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", str(func))
        if self.depth:
            return func(*args, **kwargs)
        follows = [value for value in args if isinstance(value, Tensor) and value.requires_grad]
        if self.rules.linear and name in SUM_FUNCTIONS and len(follows) == 2 and not kwargs:
            total = self._summed(lambda addends: addends.sum(-1), torch.stack(torch.broadcast_tensors(*follows), -1))
            return args[0].copy_(total) if name == "add_" else total  # "add_" is what a += b calls
        if self.rules.linear and name in AVERAGE_FUNCTIONS and follows:
            return self._summed(lambda features: func(features, *args[1:], **kwargs), follows[0])
        result = func(*args, **kwargs)
        made = result if isinstance(result, (tuple, list)) else (result,)
        if any(isinstance(value, Tensor) and value.requires_grad for value in made) or name == "__setitem__":
            known = name in PASSING_FUNCTIONS if self.rules.linear else name not in ACTIVATION_FUNCTIONS
            if not known:
                raise self.rules.refuse(f"'{name}' where it is no layer of the network")
        return result

    def _summed(self, function: Callable[[Tensor], Tensor], features: Tensor) -> Any:
        """The function as a layer with the rule of sums."""
        assert self.rules.linear is not None
        module, hook = Apply(function), self.rules.linear.sum()
        self.kept += [hook, hook.register(module)]
        return module(features)


class Apply(nn.Module):
    """A function as a module, which a rule can be hooked to."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(features)
