"""A network that writes to itself while it runs in `eval()`: what is put back, what is refused.

Its weights and buffers, and the tensors and numbers that modules hold in plain attributes.
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
from milr.networks.attributes import alike, attribute_of, copied, held_by, near, put_attribute, values_of
from milr.networks.freezing import dense, frozen, same_values
from milr.networks.inputs import Inputs, call
from milr.networks.probes import same
from milr.networks.wrappers import uncompiled

ROUNDING = 1e-6  # of the norm: weights that are divided by their norm in each pass are not the same to the bit
ABSENT = object()


class OwnState:
    """The values of a network's parameters, buffers and plain attributes at one time, on the CPU."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.take()

    def take(self) -> None:
        """Those of now."""
        self.values = {name: value.detach().to("cpu", copy=True) for name, value in _tensors(self.network).items()}
        self.attributes = {name: copied(value) for name, value in values_of(self.network).items()}
        self.held = held_by(self.network)
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
        return [name for name in changed if not near(self.values[name], now[name], beyond)] + others

    def other_attributes(self, beyond: float = 0.0) -> list[str]:
        """Names of the values in plain attributes that are others now, or new."""
        now = values_of(self.network)
        known = [name for name in now if name in self.attributes or self._is_here(name)]
        return [name for name in known if not alike(self.attributes.get(name, ABSENT), now[name], beyond)]

    def _is_here(self, name: str) -> bool:
        """Whether the module that holds this value was there then."""
        return attribute_of(name).rpartition(".")[0] in self.modules

    def keep(self, names: Collection[str]) -> None:
        """Only what has these names is to be put back; the rest is the network's own as it is now."""
        self.values = {name: value for name, value in self.values.items() if name in names}
        kept, now = {attribute_of(name) for name in names}, values_of(self.network)
        own = {name: copied(value) for name, value in now.items() if attribute_of(name) not in kept}
        self.attributes = own | {name: value for name, value in self.attributes.items() if attribute_of(name) in kept}
        before = {name: held for name, held in self.held.items() if name in kept}
        self.held = {name: held for name, held in held_by(self.network).items() if name not in kept} | before

    def put_back(self) -> None:
        """What was written to is as it was."""
        names = self.changed()
        put_back(self.network, {name: self.values[name] for name in names if name in self.values})
        new = dict.fromkeys(attribute_of(name) for name in names if name not in self.values)
        for name in {**new, **self.held}:
            put_attribute(self.network, name, self.held.get(name))


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
    of_last_pass = set(moving) & after.attributes.keys() - set(after.other_attributes(ROUNDING))
    start.put_back()
    _output(network, others)
    set_once = [name for name in after.changed(ROUNDING) if name not in moving]
    if set_once and all(name != attribute_of(name) for name in set_once) and _alike(one, _output(network, probes)):
        moving, set_once = moving + set_once, []  # a list of what was seen, of which no result comes
    if set_once:
        raise MilrError(
            f"the network takes its {kind_of(network, set_once[0])} from the first images that it is given, also in "
            "eval() (ActNorm?): build it anew, and load its weights, or run it once on a batch of real images, before "
            "it comes here"
        )
    as_before = _alike(one, two)
    moving = [name for name in moving if not (as_before and name in of_last_pass)]
    start.keep(moving)
    if as_before or not moving:  # what is random says `random_network`
        return moving, None
    what = kind_of(network, moving[0])
    message = f"the network changes its {what} while it runs in eval(): maps need one result; let it do so in training"
    return moving, MilrError(f"{message} alone")


@contextmanager
def unchanged(network: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """What has these names is afterwards as it was."""
    now = _tensors(network) if names else {}
    values = {name: now[name].clone() for name in names if name in now}
    kept = held_by(network, {attribute_of(name) for name in names if name not in now}) if names else {}
    try:
        yield
    finally:
        put_back(network, values)
        for name, held in kept.items():
            put_attribute(network, name, held)


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


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict(chain(network.named_parameters(), network.named_buffers()))


def _alike(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two passes gave the same."""
    return all(same(before, now, torch.float32) for before, now in zip(one, other, strict=False))


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
