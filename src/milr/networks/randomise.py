"""Upper layers with new random weights, to check that explanations depend on what was learned.

(The cascading randomisation of Adebayo et al. 2018, "Sanity Checks for Saliency Maps".)
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from milr.seeding import seeded


def blocks(network: nn.Module) -> list[str]:
    """Names of the top-level layers with parameters, from the output down to the input.

    A network within one module, as a wrapper holds it, is looked into.
    """
    with_parameters = [name for name, child in network.named_children() if next(child.parameters(), None) is not None]
    if len(with_parameters) == 1 and blocks(inner := network.get_submodule(with_parameters[0])):
        return [f"{with_parameters[0]}.{name}" for name in blocks(inner)]
    return with_parameters[::-1]


def randomised(network: nn.Module, layers: Iterable[str], batches: Iterable[Tensor], seed: int) -> nn.Module:
    """A copy in `eval()` whose top-level `layers` have new random weights; the network itself is left alone.

    Normalisation statistics of those layers are counted anew on `batches` [K, 3, S, S]: with the old ones, or
    none, a random network's activations vanish, and any explanation of it would differ for that reason alone.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    norms = []
    with seeded(seed):
        for name in layers:
            for module in copied.get_submodule(name).modules():
                redraw(module)
                if isinstance(module, nn.BatchNorm2d):
                    norms.append((module.train(), module.momentum))
                    module.momentum = None  # the mean over all batches
    with torch.no_grad():
        for images in batches:
            copied(images)
    for norm, momentum in norms:
        norm.momentum = momentum
    return copied.eval()


def redraw(module: nn.Module) -> None:
    """Draws a layer's own weights anew, on the CPU: one seed gives the same ones on any device.

    Those that no layer knows how to draw (a token, a scale of each channel) change places with each other.
    """
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), None)
        module.cpu()
        reset()
        module.to(device)
        return
    for weights in module.parameters(recurse=False):
        order = torch.randperm(weights.numel()).to(weights.device)
        weights.data.copy_(weights.data.flatten()[order].view_as(weights))
