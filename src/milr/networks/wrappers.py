"""Networks as people wrap them: DataParallel, DistributedDataParallel, torch.compile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

COMPILED = "_orig_mod"  # where torch.compile keeps the module that it was given


def unwrap(network: nn.Module) -> nn.Module:
    """The network inside: hooks reach neither the replicas of DataParallel nor what was compiled before them."""
    while True:
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            network = network.module
        elif isinstance(inner := getattr(network, COMPILED, None), nn.Module):
            network = inner
        else:
            return network


@contextmanager
def uncompiled() -> Iterator[None]:
    """While this is on, what torch.compile made runs as it was written, hooks included (torch 2.6 and newer).

    So do the layers of `nn.TransformerEncoder`, which have a fast way without gradients that rounds otherwise.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    stance: AbstractContextManager[object] = nullcontext()
    if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):  # else nothing was compiled
        stance = torch.compiler.set_stance("force_eager")
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with stance:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def modules_by_name(network: nn.Module) -> dict[str, nn.Module]:
    """Every module of an unwrapped network by each of its names, as if nothing in it were compiled or wrapped.

    "module.layer1" and "_orig_mod.layer1", the names of before unwrapping, are known too.
    """
    names: dict[str, nn.Module] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        if module is network:
            continue
        names.setdefault(name, module)
        names.setdefault(".".join(part for part in name.split(".") if part != COMPILED), module)
    return names


def hookable(network: nn.Module) -> list[nn.Module]:
    """The modules that run in Python and give features.

    What is TorchScript within a network takes no hooks, and runs as one; what makes weights (a parametrisation) runs
    within the layer whose they are.
    """
    made = {one for module in network.modules() if isinstance(module, ParametrizationList) for one in module.modules()}
    return [one for one in network.modules() if not isinstance(one, torch.jit.ScriptModule) and one not in made]


def plain_name(name: str) -> str:
    """A layer's name without the wrappers' prefixes: "module._orig_mod.layer1" -> "layer1"."""
    first, dot, rest = name.partition(".")
    return plain_name(rest) if dot and first in ("module", COMPILED) else name


def wrapper_names(network: nn.Module) -> list[str]:
    """Names of the wrappers within an unwrapped network."""
    return [name for name, module in network.named_modules() if name and unwrap(module) is not module]


def without_wrappers(name: str, wrappers: list[str]) -> str:
    """The name of a tensor as if nothing were wrapped."""
    for wrapper in sorted(wrappers, key=len, reverse=True):  # the innermost first: the others' names stay as they are
        if name.startswith(f"{wrapper}."):
            _, _, rest = name.removeprefix(f"{wrapper}.").partition(".")
            name = f"{wrapper}.{rest}"
    return name
