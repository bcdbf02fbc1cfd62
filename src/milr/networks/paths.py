"""Which layers the network's output depends on, and which depend on which: where a guess of layers may stand."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from milr.networks.hooks import HookedLayer
from milr.networks.inspection import Inspection
from milr.networks.outputs import OutputChoice, choose, pick, with_features
from milr.networks.trace import Call, trace

TRIES = 12  # candidates that are tried before the first of them is taken
SAMPLE = 4096  # numbers of what a layer gives that are compared


class Paths:
    """Tries what changes where two images change places in what one layer gives.

    `output` says which output counts, as `LayerSettings.output`; left open it is the one that a fit would take.
    """

    def __init__(self, layers: Inspection, output: OutputChoice) -> None:
        self.layers, self.output = layers, output

    def first(self, runs: Iterable[Call], above: Call | None = None) -> Call | None:
        """The first of the runs that `leads` on; where none of a few does the first of all, None of none."""
        tried = list(runs)
        return next((run for run in tried[:TRIES] if self.leads(run, above)), tried[0] if tried else None)

    def leads(self, run: Call, above: Call | None) -> bool:
        """Whether the output, and what the run `above` gives, depend on what this run gives at its places.

        Without `above` all of what it gives counts, a class token too, but not a linear layer that no other reads: the
        end of a head. True where there is no trying.
        """
        try:
            (plain, output), (changed, other) = self._plain, self._passed(run, above is not None)
        except Exception:  # whatever a network raises; what is wrong with it is said later
            return True
        if torch.equal(output, other):
            return False
        if above is None and not isinstance(leaves(run)[-1].module, (nn.Linear, nn.Conv2d)):
            return True  # an embedding with which the network ends
        behind = enumerate(self.layers.order[self.layers.order.index(run) + 1 :], self.layers.order.index(run) + 1)
        read = [at for at, one in behind if (one is above if above else run not in one.finished())]
        return any(_differ(plain[at], changed[at]) for at in read)

    @cached_property
    def _plain(self) -> tuple[list[Tensor | None], Tensor]:
        return self._passed(None, False)

    def _passed(self, changed: Call | None, places: bool) -> tuple[list[Tensor | None], Tensor]:
        """Some numbers of what each run gives, and the network's output, where the images change places in one run.

        `places`: what is no place stays.
        """
        layers, given = self.layers, []
        with ExitStack() as hooks:
            if changed:
                number = layers.runs[id(changed.module)].index(changed)
                layer = HookedLayer("", changed.module, number)
                layout = layers.layouts.get(id(changed)) if places else None

                def swapped(made: Any) -> Any:
                    """What the layer gives, its images in another order."""
                    features = layer.features(made)
                    other = layout.put(features, layout.places(features).flip(0)) if layout else features.flip(0)
                    return with_features(made, other)

                hooks.enter_context(layer.on_output(swapped))
            hooks.enter_context(layers.network.register_forward_hook(lambda *made: given.append(made[-1])))
            root, error = trace(layers.network, layers.images, some_numbers)
        if error:
            raise error
        choice = self.output or ("" if isinstance(given[-1], Tensor) else choose(given[-1], layers.count))
        return [run.seen for run in root.finished()], pick(given[-1], choice)


def leaves(run: Call) -> list[Call]:
    """The runs within one, itself included, that have no others within."""
    return [one for one in run.finished() if not one.children]


def some_numbers(features: Tensor) -> Tensor:
    """A few numbers of what a layer gives, by which two results are told from each other."""
    values = torch.view_as_real(features) if features.is_complex() else features
    flat = values.reshape(-1)
    return flat[:: max(1, len(flat) // SAMPLE)].double()


def _differ(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and not torch.equal(one, other)
