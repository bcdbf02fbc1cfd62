"""Inputs of noise that show what a network's layers depend on, whatever images a user happens to have at hand."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.networks.freezing import dense, frozen
from milr.networks.inputs import BESIDE, Inputs, call, count, take, tensors_of
from milr.networks.outputs import features_in
from milr.networks.wrappers import hookable, uncompiled

AS_THEY_ARE = (*BESIDE, "shape", "size", "grid")  # in names of what the example has


def probe_inputs(example: Inputs) -> tuple[Inputs, Inputs]:
    """Two batches of two inputs like the example; the first row is the same in both, the second is not.

    Of images all is noise. Of words the ids are the example's, in another order; masks, and what else has few values
    or tells positions, are the example's first row.
    """
    generator = torch.Generator().manual_seed(0)
    masks = [one for name, one in tensors_of(example).items() if "mask" in name]
    seen = masks[0][:1].bool() if masks and masks[0].ndim == 2 else None
    drawn = {name: _drawn(one, name, seen, generator) for name, one in tensors_of(example).items()}
    if isinstance(example, Tensor):
        batch: Inputs = drawn[""]
    else:
        batch = drawn if isinstance(example, dict) else tuple(drawn.values())
    return take(batch, torch.tensor([0, 1])), take(batch, torch.tensor([0, 2]))


def _drawn(example: Tensor, name: str, seen: Tensor | None, generator: torch.Generator) -> Tensor:
    """Three rows like those of one tensor of the example."""
    shape = (3, *example.shape[1:])
    if example.is_floating_point() and "mask" not in name:
        values = example.double()
        spread = float(values.std()) if values.numel() > 1 else 0.0
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn = noise * (spread or 1.0) + float(values.mean())
        if spread:  # a network may know no values but those that images have
            drawn = drawn.clamp(float(values.min()), float(values.max()))
    elif example.ndim == 2 and int(example.max()) > 1 and not any(word in name for word in AS_THEY_ARE):
        own = seen is not None and seen.shape[1] == example.shape[1]  # a mask may be of another input
        drawn = _shuffled(example.cpu(), seen.cpu() if seen is not None and own else None, generator)
    elif example.ndim > 2 or name == "":
        drawn = torch.randint(0, max(int(example.max()), 1) + 1, shape, generator=generator)
    else:
        drawn = example[:1].expand(shape)
    return drawn.to(example.dtype).to(example.device)


def _shuffled(ids: Tensor, seen: Tensor | None, generator: torch.Generator) -> Tensor:
    """Three rows of words from the example; the first and the last that are seen, and what is not seen, stay."""
    base = ids[:1]
    seen = torch.ones_like(base, dtype=torch.bool) if seen is None else seen
    free = seen[0].clone()
    places = free.nonzero()[:, 0]
    if len(places) > 2:
        free[places[[0, -1]]] = False
    words = base[0, free] if len(base[0, free].unique()) > 1 else ids.flatten()
    rows = base.repeat(3, *[1] * (base.ndim - 1))
    for row in rows:
        row[free] = words[torch.randint(0, len(words), (int(free.sum()),), generator=generator)]
    return rows


def same(first: Tensor, second: Tensor, precision: torch.dtype) -> bool:
    """Whether two results of the same computation are equal up to the rounding of a network of this precision."""
    if first.shape != second.shape:
        return False
    a, b = first.double(), second.double()
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, a - b)  # inf - inf is no difference
    rounding = max(torch.finfo(precision).eps, torch.finfo(torch.float32).eps) ** 0.5
    return bool(difference.norm() <= rounding * torch.nan_to_num(a, 0.0, 0.0, 0.0).norm())


def first_difference(network: nn.Module, one: Inputs, other: Inputs, precision: torch.dtype, row: int = 0) -> str:
    """Where one image is first not the same in two passes: "'bn1' (BatchNorm2d)", or the code before a module."""
    names = {
        module: f"'{name}' ({type(module).__name__})" if name else "the network's own code"
        for name, module in network.named_modules()
    }
    for (module, given, was), (_, _, now) in zip(
        _values(network, one, row), _values(network, other, row), strict=False
    ):
        if not same(was, now, precision):
            return f"the network's own code before {names[module]}" if given else names[module]
    return "the network's own code"


def random_network(network: nn.Module, images: Inputs, precision: torch.dtype) -> MilrError:
    """What is said of a network that gives two results for the same images."""
    where = first_difference(network, images, images, precision)
    return MilrError(
        f"the network gives two results for the same images: {where} is random, also in eval(), or keeps something of "
        "the pass before"
    )


def _values(network: nn.Module, images: Inputs, row: int) -> list[tuple[nn.Module, bool, Tensor]]:
    """What every module is given (True) and gives (False) for one image, in the order in which they do."""
    values: list[tuple[nn.Module, bool, Tensor]] = []

    def keep(module: nn.Module, given: bool, value: Any) -> None:
        """Keeps what is a tensor of floats with a row for each image: the row that is asked for."""
        if isinstance(value, Tensor) and value.ndim and len(value) == count(images) and value.is_floating_point():
            values.append((module, given, value[row].clone()))  # the next layer may work in place

    def before(module: nn.Module, inputs: Any) -> None:
        """What a module is given."""
        keep(module, True, inputs[0] if inputs else None)

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        """What it gives."""
        keep(module, False, features_in(output))

    with torch.no_grad(), frozen(network), uncompiled(), ExitStack() as hooks:
        for module in hookable(network):
            hooks.enter_context(module.register_forward_pre_hook(before))
            hooks.enter_context(module.register_forward_hook(after))
        call(network, images)
    return values


def not_finite(network: nn.Module) -> list[str]:
    """Names of the parameters that are not finite and of the buffers with NaN: -inf in a buffer may be a mask."""
    names = [name for name, value in network.named_parameters() if not value.isfinite().all()]
    return names + [name for name, value in network.named_buffers() if dense(value).isnan().any()]
