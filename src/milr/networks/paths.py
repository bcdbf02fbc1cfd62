"""Which layers the network's output depends on, and which depend on which: where a guess of layers may stand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from milr.networks.freezing import frozen
from milr.networks.hooks import HookedLayer
from milr.networks.inputs import Inputs, call, main_tensor, with_main
from milr.networks.inspection import Inspection
from milr.networks.outputs import OutputChoice, choose, pick, with_features
from milr.networks.probes import same
from milr.networks.trace import Call, trace
from milr.networks.wrappers import uncompiled

log = logging.getLogger("milr")

TRIES = 16  # candidates that are tried before the first of them is taken
PAST = 0.05  # of the output's change may go past a layer: rounding, and what is hardly read
SAMPLE = 4096  # numbers of what a layer gives that are compared


class OtherRunsError(Exception):
    """Other layers run than before."""


class Paths:
    """Tries what changes where two images change places in what one layer gives.

    `output` says which output counts, as `LayerSettings.output`; left open it is the one that a fit would take.
    """

    def __init__(self, layers: Inspection, output: OutputChoice) -> None:
        self.layers, self.output = layers, output
        self._past: dict[int, float] = {}

    def first(self, runs: Iterable[Call], above: Call | None = None) -> Call | None:
        """The first of the runs that `leads` on; where none of a few does the first of all, None of none.

        With `above` one that all of the picture's way leads through goes before others.
        """
        tried = list(runs)
        leading = (run for run in tried[:TRIES] if self.leads(run, above))
        match: Call | None = None
        for run in leading:
            match = match or run
            if above is None or self.past(run) <= PAST:
                return run
        return match or next(iter(tried), None)

    def past(self, run: Call) -> float:
        """What `passes_by` says of the layer; 0 where there is no trying."""
        if id(run) not in self._past:
            try:
                share = passes_by(self.layers.network, self._hooked(run), self.layers.images, self._picked)
            except Exception:  # whatever a network raises
                share = 0.0
            self._past[id(run)] = share
        return self._past[id(run)]

    def warn_of_past(self, run: Call, name: str) -> None:
        """A warning where the output reads the picture past this local layer, which no mask can take away."""
        share = self.past(run)
        if share > PAST:
            log.warning(
                "%.0f %% of what the picture changes in the network's output goes past the local layer '%s' (other "
                "members of an ensemble, branches, a skip connection, or the same layers run again): no mask takes it "
                "away, and the maps say what the decision needs beside it; name a layer that all of it goes through",
                *(100 * min(share, 1.0), name),
            )

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

    def repeats(self) -> bool:
        """Whether the network's output is the same again."""
        try:
            outputs = self._passed(None, False)[1], self._passed(None, False)[1]
        except OtherRunsError:
            return False
        except Exception:  # whatever a network raises, which is said elsewhere
            return True
        return same(*outputs, torch.float32)

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
        runs = list(root.finished())
        if [run.module for run in runs] != [run.module for run in layers.order]:
            raise OtherRunsError
        return [run.seen for run in runs], self._picked(given[-1])

    def _hooked(self, run: Call) -> HookedLayer:
        return HookedLayer("", run.module, self.layers.runs[id(run.module)].index(run))

    def _picked(self, output: Any) -> Tensor:
        return pick(output, self.output or ("" if isinstance(output, Tensor) else choose(output, self.layers.count)))


def passes_by(network: nn.Module, layer: HookedLayer, images: Inputs, picked: Callable[[Any], Tensor]) -> float:
    """The share of what changes the network's output with the picture that goes past a layer, 0 to about 1.

    Seen where what the layer gives of two pictures changes places, and they do not: where a member of an ensemble, one
    branch of several or a skip connection reads them too, the outputs do not change places with it. A class token that
    the layer gives is not past.
    """
    pictures = with_main(images, main_tensor(images))  # which alone are not the same in each row

    def output(change: Callable[[Tensor], Tensor]) -> Tensor:
        """What the network gives with what the layer gives changed."""

        def act(made: Any) -> Any:
            """What the layer gives, changed."""
            return with_features(made, change(layer.features(made)))

        with torch.no_grad(), frozen(network), uncompiled(), layer.on_output(act):
            return picked(call(network, pictures)).double().nan_to_num(0.0, 0.0, 0.0)  # -inf: of classes left out

    own, exchanged = output(lambda features: features), output(lambda features: features.flip(0))
    change = (own.flip(0) - own).norm()
    return float((exchanged.flip(0) - own).norm() / change) if change > 0 else 0.0


def some_numbers(features: Tensor) -> Tensor:
    """A few numbers of what a layer gives, by which two results are told from each other."""
    values = torch.view_as_real(features) if features.is_complex() else features
    flat = values.reshape(-1)
    return flat[:: max(1, len(flat) // SAMPLE)].double()


def _differ(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and (one.shape != other.shape or not torch.equal(one, other))
