"""Which layers the network's output depends on, and which depend on which: where a guess of layers may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from milr.networks.freezing import frozen
from milr.networks.hooks import HookedLayer
from milr.networks.inputs import Inputs, call, main_name, main_tensor
from milr.networks.inspection import Inspection
from milr.networks.outputs import OutputChoice, choose, pick, with_features
from milr.networks.trace import Call, trace
from milr.networks.wrappers import uncompiled

TRIES = 16  # candidates that are tried before the first of them is taken
PAST = 0.05  # of the output's change may go past a layer: rounding, and what is hardly read
SAMPLE = 4096  # numbers of what a layer gives that are compared


class Paths:
    """Tries what changes where two images change places in what one layer gives.

    `output` says which output counts, as `LayerSettings.output`; left open it is the one that a fit would take.
    """

    def __init__(self, layers: Inspection, output: OutputChoice) -> None:
        self.layers, self.output = layers, output

    def first(self, runs: Iterable[Call], above: Call | None = None) -> Call | None:
        """The first of the runs that `leads` on; where none of a few does the first of all, None of none.

        With `above` one that all of the picture's way leads through goes before others.
        """
        tried = list(runs)
        leading = (run for run in tried[:TRIES] if self.leads(run, above))
        found: Call | None = None
        for run in leading:
            found = found or run
            if above is None or self.past(run) <= PAST:
                return run
        return found or next(iter(tried), None)

    def past(self, run: Call) -> float:
        """What `passes_by` says of the layer; 0 where there is no trying."""
        try:
            return passes_by(self.layers.network, self._hooked(run), self.layers.images, self._picked)
        except Exception:  # whatever a network raises
            return 0.0

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
        order, at = self.layers.order, self.layers.order.index(run)
        last = next(one for one in reversed(list(run.finished())) if not one.children)
        if above is None and (
            not isinstance(last.module, (nn.Linear, nn.Conv2d)) or _differ(plain[at], plain[order.index(last)])
        ):
            return True  # an embedding with which the network ends
        behind = enumerate(order[at + 1 :], at + 1)
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
                layer = self._hooked(changed)
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
        return [run.seen for run in root.finished()], self._picked(given[-1])

    def _hooked(self, run: Call) -> HookedLayer:
        return HookedLayer("", run.module, self.layers.runs[id(run.module)].index(run))

    def _picked(self, output: Any) -> Tensor:
        return pick(output, self.output or ("" if isinstance(output, Tensor) else choose(output, self.layers.count)))


def passes_by(network: nn.Module, layer: HookedLayer, images: Inputs, picked: Callable[[Any], Tensor]) -> float:
    """The share of what changes the network's output with the picture that goes past a layer, 0 to about 1.

    Seen where two pictures change places and all that the layer gives stays: of a member of an ensemble or one branch
    of several, or beside a skip connection, the output still changes. A class token that the layer gives is not past.
    """

    def run(given: Inputs, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the layer and the network give, the layer's output being kept."""
        seen: list[Tensor] = []

        def act(made: Any) -> Any:
            """Keeps what the layer gives, or gives what is kept."""
            seen.append(layer.features(made).clone())
            return None if kept is None else with_features(made, kept.clone())

        with torch.no_grad(), frozen(network), uncompiled(), layer.on_output(act):
            return picked(call(network, given)).double(), seen[0]

    main, name = main_tensor(images), main_name(images)
    order = main.flip(0)
    if isinstance(images, Tensor):
        others: Inputs = order
    elif isinstance(images, dict):
        others = {**images, name: order}
    else:
        others = tuple(order if str(number) == name else one for number, one in enumerate(images))
    own, features = run(images, None)
    other, past = run(others, None)[0], run(others, features)[0]
    change = (other - own).norm()
    return float((past - own).norm() / change) if change > 0 else 0.0


def some_numbers(features: Tensor) -> Tensor:
    """A few numbers of what a layer gives, by which two results are told from each other."""
    values = torch.view_as_real(features) if features.is_complex() else features
    flat = values.reshape(-1)
    return flat[:: max(1, len(flat) // SAMPLE)].double()


def _differ(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and (one.shape != other.shape or not torch.equal(one, other))
