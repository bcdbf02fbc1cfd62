"""Relevance sent back through a copy of a network by a rule for each layer (zennit's hooks and canonizers)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from zennit.canonizers import NamedMergeBatchNorm
from zennit.composites import NameMapComposite

from milr.baselines.rules import LAYERS, Rules, calls_of, check_layers, hooks_for, pairs_to_merge

# Functions outside of layers, by their names in torch.
PASSING_FUNCTIONS = {"alias", "cat", "chunk", "clone", "concat", "contiguous", "dropout", "expand", "flatten", "float"}
PASSING_FUNCTIONS |= {"adaptive_max_pool2d", "max_pool2d", "movedim", "narrow", "pad", "permute", "relu", "relu_"}
PASSING_FUNCTIONS |= {"reshape", "split", "squeeze", "stack", "to", "transpose", "unbind", "unsqueeze", "view"}
PASSING_FUNCTIONS |= {"__getitem__"}
ACTIVATION_FUNCTIONS = {"relu", "relu_", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish"}
SUM_FUNCTIONS = {"add", "add_", "__add__", "__radd__"}
AVERAGE_FUNCTIONS = {"mean", "avg_pool2d", "adaptive_avg_pool2d"}
TOLERANCE = 1e-3  # of the output's largest value: merging normalisations rounds differently


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
            doubled = double(images)
        if not torch.allclose(doubled, output, rtol=0, atol=TOLERANCE * output.abs().max().item()):
            raise rules.refuse("this network, whose copy computes something else once its normalisations are merged")
        (result,) = torch.autograd.grad(doubled, images, start)  # where the rules are applied
    return result


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
            """One module deeper."""
            self.depth += 1

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            """And out of it again."""
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
