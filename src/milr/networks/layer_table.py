"""The table of a network's layers: what each gives, and what it can be for milr."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from milr.default_device import on_the_cpu
from milr.errors import MilrError
from milr.networks.guess import with_guesses
from milr.networks.inputs import checked_example
from milr.networks.inspection import Inspection, check_network
from milr.networks.own_state import same_state, written_each_time
from milr.networks.paths import Paths
from milr.networks.probes import probe_inputs
from milr.networks.settings import LayerSettings
from milr.networks.trace import Call, Shape
from milr.networks.wrappers import unwrap
from milr.text import aligned

SAME = (nn.Identity, nn.modules.dropout._DropoutNd)  # give what they are given: no rows of their own
HEADINGS = ("name", "shape", "layout", "runs", "can be", "default")


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network."""

    name: str
    shape: Shape  # of what it gives, for one image: without K
    layout: str  # how that holds places; empty: it does not, or that is not seen
    runs: int  # in one pass
    can: tuple[str, ...]  # local, z, stage
    default: tuple[str, ...]  # what of these it is where nothing is named

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        shape = " x ".join(map(str, self.shape))
        return self.name, shape, self.layout, str(self.runs), ", ".join(self.can), ", ".join(self.default)


class LayerTable(tuple[LayerRow, ...]):
    """The layers in the order in which they end; `str` draws them as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        """The rows below their headings."""
        return "\n".join(aligned([HEADINGS, *(row.cells() for row in self)]))


@on_the_cpu()
def layers(network: nn.Module, example: Any, choice: LayerSettings | None = None) -> LayerTable:
    """What each layer of a network gives, how often it runs, what it can be for `MILR`, and which are taken by default.

    Args:
        network: any network that runs in Python; wrappers are looked through.
        example: what it is called with: images [K, 3, H, W], a dict of tensors, or a tuple of them.
        choice: layers that are named already, and how tensors are read where they leave it open.

    Returns:
        A row for each layer that gives a tensor with a row for each image, in the order in which they end. Those that
        only pass on what they are given (Identity, Dropout) are left out.

    Raises:
        MilrError: for a network that fails on the example, and an example that is none.

    Example:
        >>> import milr, torch, torchvision
        >>> network = torchvision.models.resnet18()
        >>> table = milr.layers(network, torch.randn(1, 3, 64, 64))
        >>> [(row.name, row.shape, row.default) for row in table if "local" in row.default]
        [('layer1', (64, 16, 16), ('local', 'stage'))]
        >>> print(str(table).splitlines()[0])
        name                   shape         layout                  runs  can be           default
    """
    check_network(network)
    choice = choice or LayerSettings()
    probes, others = probe_inputs(checked_example(example, choice.layout != "auto"))
    with same_state(unwrap(network)) as start:
        seen = Inspection(unwrap(network), probes, choice)
        written_each_time(seen.network, start, probes, others)
        return _table(seen, choice)


def _table(seen: Inspection, choice: LayerSettings) -> LayerTable:
    """The table of a network's layers as probes show them."""
    for given in filter(None, (choice.local, choice.z)):
        seen.name_of(given)
    with suppress(MilrError):  # the table is what helps where nothing can be guessed
        seen.choice = choice = with_guesses(seen, choice, Paths(seen, choice.output))
    stages = seen.readout_layers()
    rows = {}
    for run in seen.order[:-2]:
        name = seen.names.get(id(run.module))
        if choice.z and seen.is_entry(choice.z) and run is seen.run_of(choice.z) and run.input:
            rows[choice.z] = LayerRow(choice.z, run.input[1:], "", 1, ("z",), ("z",))
        if isinstance(run.module, SAME):
            continue
        if name and name not in rows and run.output and run.output[0] == seen.count and len(run.output) > 1:
            default = [what for what, named in (("local", choice.local), ("z", choice.z)) if named == name]
            default += ["stage"] if name in stages else []
            rows[name] = _row(seen, name, run, tuple(default))
    return LayerTable(rows.values())


def _row(seen: Inspection, name: str, run: Call, default: tuple[str, ...]) -> LayerRow:
    layout, shape = seen.layouts.get(id(run)), (run.output or ())[1:]
    places = layout is not None and layout.grid != (1, 1)
    can: tuple[str, ...] = ()
    if seen.usable(run) or seen.choice.call < 0:
        can = ("local", "z", "stage") if places else ("z",) if len(shape) == 1 or shape[1:] == (1, 1) else ()
    return LayerRow(name, shape, str(layout or ""), len(seen.runs[id(run.module)]), can, default)
