"""A network that writes to itself while it runs in `eval()`: what is put back, what is refused.

Its weights and buffers, and the tensors and numbers that modules hold as plain attributes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.utils._pytree import tree_leaves

from milr.errors import MilrError
from milr.networks.freezing import dense, frozen, same_values
from milr.networks.inputs import Inputs, call
from milr.networks.probes import same
from milr.networks.wrappers import uncompiled

ROUNDING = 1e-6  # of the norm: weights that are divided by their norm in each pass are not the same to the bit

ATTRIBUTES = (Tensor, int, float, type(None))  # of modules, that are looked at
MODULES_OWN = vars(nn.Module()).keys()
ABSENT = object()


class OwnState:
    """The values of a network's parameters, buffers and plain attributes at one time, on the CPU."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.take()

    def take(self) -> None:
        """Those of now."""
        self.values = {name: value.detach().to("cpu", copy=True) for name, value in _tensors(self.network).items()}
        self.attributes = {name: (value, _copy(value)) for name, value in _attributes(self.network).items()}
        self.modules = {name for name, _ in self.network.named_modules()}  # what is made later has its own
        self._seen = versions(self.network), norms(self.network)

    def changed(self, beyond: float = 0.0) -> list[str]:
        """Names of what is another now, tensors by more than a share of their norm. Reads all if one is written to.

        What has another shape counts as another one.
        """
        others = self.other_attributes(beyond)
        if (versions(self.network), norms(self.network)) == self._seen:
            return others
        now = {name: value.detach().cpu() for name, value in _tensors(self.network).items() if name in self.values}
        changed = [name for name, value in now.items() if not same_values(value, self.values[name])]
        return [name for name in changed if not _near(self.values[name], now[name], beyond)] + others

    def other_attributes(self, beyond: float = 0.0) -> list[str]:
        """Names of the plain attributes that are others now, or new."""
        now = _attributes(self.network)
        known = {name for name in now if name in self.attributes or name.rpartition(".")[0] in self.modules}
        before = {name: self.attributes.get(name, (ABSENT, ABSENT))[1] for name in known}
        return [name for name in now if name in known and not _alike(before[name], now[name], beyond)]

    def keep(self, names: Collection[str]) -> None:
        """Only what has these names is to be put back; the rest is the network's own as it is now."""
        self.values = {name: value for name, value in self.values.items() if name in names}
        now = {name: (value, _copy(value)) for name, value in _attributes(self.network).items() if name not in names}
        self.attributes = {name: value for name, value in self.attributes.items() if name in names} | now

    def put_back(self) -> None:
        """What was written to is as it was."""
        names = self.changed()
        put_back(self.network, {name: self.values[name] for name in names if name in self.values})
        for name in set(names) - self.values.keys():
            _put_attribute(self.network, name, *self.attributes.get(name, (ABSENT, ABSENT)))


@contextmanager
def same_state(network: nn.Module) -> Iterator[OwnState]:
    """Puts back what the network writes to while it runs, whatever its modes: running means, counters."""
    start = OwnState(network)
    try:
        yield start
    finally:
        start.put_back()


def written_each_time(
    network: nn.Module, start: OwnState, probes: Inputs, others: Inputs
) -> tuple[list[str], MilrError | None]:
    """Names of what each pass changes (counters), and what is to be said where another result comes of it.

    `start` is the state before the network first ran, on the probes. What the first pass alone changes and is the same
    whatever its images (weights that are kept at a norm) is the network's own state from here on. MilrError for what is
    taken from the first images (ActNorm).
    """
    if not start.changed():
        return [], None
    one, after = _output(network, probes), OwnState(network)
    _output(network, others)
    moving = after.changed(ROUNDING)
    two = _output(network, probes)
    left = set(moving) & after.attributes.keys() - set(after.other_attributes(ROUNDING))  # of the last pass alone
    start.put_back()
    _output(network, others)
    if taken := [name for name in after.changed(ROUNDING) if name not in moving]:
        raise MilrError(
            f"the network takes its {kind_of(network, taken[0])} from the first images that it is given, also in "
            "eval() (ActNorm?): build it anew, and load its weights, or run it once on a batch of real images, before "
            "it comes here"
        )
    alike = all(same(before, now, torch.float32) for before, now in zip(one, two, strict=False))
    moving = [name for name in moving if not (alike and name in left)]
    start.keep(moving)
    if alike or not moving:  # what is random says `random_network`
        return moving, None
    what = kind_of(network, moving[0])
    message = f"the network changes its {what} while it runs in eval(): maps need one result; let it do so in training"
    return moving, MilrError(f"{message} alone")


@contextmanager
def unchanged(network: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """What has these names is afterwards as it was."""
    now, attributes = (_tensors(network), _attributes(network)) if names else ({}, {})
    values = {name: now[name].clone() for name in names if name in now}
    kept = {name: (attributes[name], _copy(attributes[name])) for name in names if name in attributes}
    try:
        yield
    finally:
        put_back(network, values)
        for name, (value, copy) in kept.items():
            _put_attribute(network, name, value, copy)


@torch.no_grad()
def put_back(network: nn.Module, values: dict[str, Tensor]) -> None:
    """Writes these values into the tensors of their names; what has another shape now stays."""
    now = _tensors(network) if values else {}
    for name, value in values.items():
        if name in now and now[name].shape == value.shape:
            now[name].copy_(value)


def also_writes(network: nn.Module, names: list[str]) -> str:
    """What is added to a refusal of a network that writes to these tensors in each pass."""
    return f" (it changes its {kind_of(network, names[0])} while it runs in eval(), too)" if names else ""


def kind_of(network: nn.Module, name: str) -> str:
    """As in "parameter 'loc'"."""
    if name not in _tensors(network):
        return f"attribute '{name}'"
    return f"{'parameter' if name in dict(network.named_parameters()) else 'buffer'} '{name}'"


def _near(one: Tensor, other: Tensor, share: float) -> bool:
    """Whether two tensors of floats differ by no more than a share of their norm."""
    if one.shape != other.shape or not (one.is_floating_point() and share):
        return False
    return bool((dense(one).double() - dense(other).double()).norm() <= share * dense(one).double().norm())


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict(chain(network.named_parameters(), network.named_buffers()))


def _attributes(network: nn.Module) -> dict[str, Any]:
    """Tensors, numbers and None that modules hold as plain attributes, by name."""
    held = {
        f"{prefix}.{name}".removeprefix("."): value
        for prefix, module in network.named_modules()
        for name, value in vars(module).items()
        if name not in MODULES_OWN and isinstance(value, ATTRIBUTES)
    }
    return {name: value for name, value in held.items() if not isinstance(value, Tensor) or _plain(value)}


def _plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not (value.is_nested or value.is_quantized or value.is_meta)


def _copy(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def _alike(before: Any, now: Any, share: float) -> bool:
    """Whether an attribute is what it was: `before` is a copy on the CPU, tensors may differ by a share of the norm."""
    if not (isinstance(before, Tensor) and isinstance(now, Tensor)):
        return type(before) is type(now) and (before == now or (before != before and now != now))  # nan
    value = now.detach().cpu()
    return same_values(before, value) or _near(before, value, share)


@torch.no_grad()
def _put_attribute(network: nn.Module, name: str, value: Any, copy: Any) -> None:
    """The same object as before, with what it held then; where there was none, there is none."""
    owner, _, key = name.rpartition(".")
    held = vars(network.get_submodule(owner))
    if value is ABSENT:
        held.pop(key, None)
        return
    held[key] = value
    if isinstance(value, Tensor) and not _alike(copy, value, 0.0):
        value.data.copy_(copy)


def _output(network: nn.Module, inputs: Inputs) -> list[Tensor]:
    """The tensors of floats in what the network gives."""
    with torch.no_grad(), frozen(network), uncompiled():
        given: Any = call(network, inputs)
    return [one for one in tree_leaves(given) if isinstance(one, Tensor) and one.is_floating_point()]


def versions(network: nn.Module, but: Collection[str] = ()) -> list[tuple[int, int, int]]:
    """What changes with most ways of writing to a network's tensors, but those named, without reading them."""
    return [
        (
            id(tensor),
            tensor.data_ptr() if tensor.layout == torch.strided else 0,
            0 if tensor.is_inference() else tensor._version,
        )
        for name, tensor in _tensors(network).items()
        if name not in but
    ]


@torch.no_grad()
def norms(network: nn.Module, but: Collection[str] = ()) -> list[float]:
    """The norm of parameters and buffers of floats, but those named: `.data` and NumPy leave the versions alone."""
    tensors = [one for name, one in _tensors(network).items() if one.is_floating_point() and name not in but]
    result = [vector_norm(dense(tensor), dtype=torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
    joined: list[float] = torch.stack([norm.to(result[0].device) for norm in result]).tolist() if result else []
    return joined
