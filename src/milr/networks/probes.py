"""Images of noise that show what a network's layers depend on, whatever images a user happens to have at hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from milr.networks.freezing import frozen
from milr.networks.wrappers import uncompiled


def probe_images(example: Tensor) -> tuple[Tensor, Tensor]:
    """Two batches of two images like `example` [K, ...]; the first image is the same in both, the second is not."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, *example.shape[1:])
    if example.is_floating_point():
        values = example.double()
        spread = float(values.std()) if values.numel() > 1 else 0.0
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn = noise * (spread or 1.0) + float(values.mean())
        if spread:  # a network may know no values but those that images have
            drawn = drawn.clamp(float(values.min()), float(values.max()))
    else:
        high = max(int(example.max()), 1) + 1
        drawn = torch.randint(0, high, shape, generator=generator)
    images = drawn.to(example.dtype).to(example.device)
    return images[[0, 1]], images[[0, 2]]


def same(first: Tensor, second: Tensor, precision: torch.dtype) -> bool:
    """Whether two results of the same computation are equal up to the rounding of a network of this precision."""
    if first.shape != second.shape:
        return False
    a, b = first.double(), second.double()
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, a - b)  # inf - inf is no difference
    rounding = max(torch.finfo(precision).eps, torch.finfo(torch.float32).eps) ** 0.5
    return bool(difference.norm() <= rounding * torch.nan_to_num(a, 0.0, 0.0, 0.0).norm())


def first_difference(network: nn.Module, one: Tensor, other: Tensor, precision: torch.dtype) -> str:
    """Where image 0 is first not the same in two passes: "'bn1' (BatchNorm2d)", or the code before a module."""
    names = {
        module: f"'{name}' ({type(module).__name__})" if name else "the network's own code"
        for name, module in network.named_modules()
    }
    for (module, given, was), (_, _, now) in zip(_values(network, one), _values(network, other), strict=False):
        if not same(was, now, precision):
            return f"the network's own code before {names[module]}" if given else names[module]
    return "the network's own code"


def _values(network: nn.Module, images: Tensor) -> list[tuple[nn.Module, bool, Tensor]]:
    """What every module is given (True) and gives (False) for image 0, in the order in which they do."""
    values: list[tuple[nn.Module, bool, Tensor]] = []

    def keep(module: nn.Module, given: bool, value: Any) -> None:
        if isinstance(value, Tensor) and value.ndim and len(value) == len(images) and value.is_floating_point():
            values.append((module, given, value[0].clone()))  # the next layer may work in place

    def before(module: nn.Module, inputs: Any) -> None:
        keep(module, True, inputs[0] if inputs else None)

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        keep(module, False, output)

    with torch.no_grad(), frozen(network), uncompiled(), ExitStack() as hooks:
        for module in network.modules():
            hooks.enter_context(module.register_forward_pre_hook(before))
            hooks.enter_context(module.register_forward_hook(after))
        network(images)
    return values


def changed_buffers(network: nn.Module, run: Callable[[], object]) -> list[str]:
    """Names of the buffers that `run` leaves changed."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    run()
    after = dict(network.named_buffers())
    return [name for name, buffer in before.items() if name in after and not _equal(buffer, after[name])]


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(((first == second) | ((first != first) & (second != second))).all())


def not_finite(network: nn.Module) -> list[str]:
    """Names of the parameters that are not finite and of the buffers with NaN: -inf in a buffer may be a mask."""
    names = [name for name, value in network.named_parameters() if not value.isfinite().all()]
    return names + [name for name, value in network.named_buffers() if value.isnan().any()]
