"""What can be said of a network's layers after running it once: which run, in which order, which give maps."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from milr.errors import MilrError
from milr.networks.inputs import Inputs, count, main_tensor, take, tensors_of, with_main, written
from milr.networks.layouts import CHANNELS_FIRST, SEQUENCE, TOKENS, Layout
from milr.networks.places import ATTENTION, find_layouts, given_layout
from milr.networks.readout import equal_blocks, readout_calls, spread
from milr.networks.settings import LayerSettings
from milr.networks.trace import Call, trace
from milr.networks.wrappers import modules_by_name, plain_name
from milr.text import first_line

log = logging.getLogger("milr")

DIFFERENT = 1e-4  # of the largest value: two rows of one layer's features, beyond rounding
MOST = 0.9  # of what a transformer of one resolution makes of its tokens has that resolution
MOST_MAPS = 0.85  # of all maps: a network of stages has three quarters in one at most; attention pads some to windows
ENTRY = ".input"  # behind a layer's name: what goes into it
NOT_AGAIN = (
    "did not run when the network was given the same images again: does it keep what it computed of images that it has "
    "seen (a cache)? Turn that off, since nothing could be taken away from it"
)
OTHER_NUMBERS = (1, 4, 8, 16, 32, 64)  # of images, that a network of a fixed one may take
FEWEST = 3  # equal blocks of a network of convolutions that is taken for one of one resolution


class Inspection:
    """One run of an unwrapped network over a few images, and one over a taller image to tell places from channels.

    Raises MilrError if the network fails on the images.
    """

    def __init__(self, network: nn.Module, images: Inputs, choice: LayerSettings) -> None:
        self.network, self.images, self.choice = network, images, choice
        self.count = count(images)
        self.modules = modules_by_name(network)
        self.root, error = trace(network, images)
        if error is not None:
            raise MilrError(
                f"the network fails on {written(images)}: {type(error).__name__}: {first_line(error) or 'no message'}"
                f"{taken(network, images)}"
            ) from error
        first = {id(run.module) for run in self.root.finished()}
        self.root, _ = trace(network, images)  # what is computed once, of no image, is done
        self.order = list(self.root.finished())
        self.gone = first - {id(run.module) for run in self.order}  # did not run again
        self.runs: dict[int, list[Call]] = {}  # of each module, by its id
        for run in self.order:
            self.runs.setdefault(id(run.module), []).append(run)
        self.size, self.layouts = find_layouts(network, images, self.order)  # of runs that give maps, by their ids
        self.names = {id(module): name for name, module in reversed(self.modules.items())}

    def name_of(self, name: str) -> str:
        """The layer's name in the unwrapped network; MilrError with the nearest ones if there is none."""
        if not isinstance(name, str):
            own = [known for known, module in self.modules.items() if module is name]
            what = f"a {type(name).__name__}" if isinstance(name, nn.Module) else repr(name)
            raise MilrError(
                f"layers are given by their names in the network, not as {what}" + (f": '{own[0]}'" if own else "")
            )
        for known in (name, plain_name(name)):
            if known in self.modules or self.is_entry(known):
                return known
        near = difflib.get_close_matches(name, self.modules, n=5, cutoff=0.4)
        names = ", ".join(near or [child for child, _ in self.network.named_children()]) or "it has none"
        raise MilrError(f"the network has no layer '{name}'; nearest: {names}")

    def is_entry(self, name: str) -> bool:
        """Whether the name means what goes into a layer, as "fc.input" does."""
        return name not in self.modules and name.endswith(ENTRY) and name.removesuffix(ENTRY) in self.modules

    def module_of(self, name: str) -> nn.Module:
        """The layer of this name, or the one that what is named goes into."""
        return self.modules[name.removesuffix(ENTRY) if self.is_entry(name) else name]

    def check_order(self, local: str, z: str) -> None:
        """MilrError unless both run once, give one tensor with a row for each image, and `z` ends later."""
        if self.is_entry(local):
            raise MilrError(f"local='{local}': what goes into a layer can be z alone; name the layer that gives it")
        runs = {name: self.run_of(name) for name in (local, z)}
        if self.order.index(runs[z]) <= self.order.index(runs[local]):
            raise MilrError(f"z='{z}' must be a later layer than local='{local}'")
        for name, run in runs.items():
            shape, given = run.output, f"layer '{name}' gives {run.description}"
            if self.is_entry(name):
                shape, given = run.input, f"'{name}' is {list(run.input) if run.input else 'no tensor'}"
            if shape is None:
                raise MilrError(f"{given}: name one that gives one tensor")
            if not shape or shape[0] != self.count:
                raise MilrError(f"{given} for {self.count} images: its first dimension must count the images")

    def layout(self, name: str, what: str, trust: bool = True) -> Layout:
        """How the layer's map lies in memory; what is chosen counts, without `trust` only where it cannot be inferred.

        MilrError for a layer without a map, and where it can neither be inferred nor is given.
        """
        run = self.run_of(name)
        seen, given = self.layouts.get(id(run)), self._given(run)
        if trust and self.choice.grid and given is None:
            raise MilrError(
                f"grid={list(self.choice.grid)} with prefix={self.choice.prefix} does not fit {what}, '{name}', which "
                f"gives {run.description}"
            )
        if trust and given and seen and given.kind == seen.kind == TOKENS and given != seen:
            log.warning("%s is said of '%s', but changed patches show %s", given, name, seen)
        layout = (given or seen) if trust else (seen or given)
        if layout is not None:
            return layout
        if run.output is None or len(run.output) not in (3, 4):
            raise MilrError(
                f"{what}, '{name}', gives no map [K, C, H, W] but {run.description}: name a convolutional layer"
            )
        size = list(main_tensor(self.images).shape[1:])
        if len(run.output) == 4:
            raise MilrError(
                f"{what}, '{name}', gives {run.description} for images {size}: which of its dimensions are places "
                "cannot be inferred; say layout='channels_first' or 'channels_last'"
            )
        raise MilrError(
            f"{what}, '{name}', gives {run.description} for images {size}: its tokens are no grid in the order of its "
            "rows, as far as changing patches shows (windows?); name another layer, or say layout=tokens, grid=[rows, "
            "columns] and prefix= (tokens before the grid), layout=sequence for words or times"
        )

    def reading_layout(self, name: str, local: str, layout: Layout) -> Layout | None:
        """How the global layer's tensor holds places, where it does; as many tokens as the local layer's like those.

        Other tokens [K, T, C] of a picture that are as wide as these are a row, of which one may be read.
        """
        run = self.run_of(name)
        if self.is_entry(name):
            return None
        shapes = [layer.output or () for layer in (run, self.run_of(local))]
        same = len(shapes[0]) == len(shapes[1]) == 3 and shapes[0][1] == shapes[1][1]
        known = self.layouts.get(id(run)) or self._given(run) or (layout if same else None)
        wide = len(shapes[0]) == 3 and shapes[0][2] == shapes[1][1 if layout.kind == CHANNELS_FIRST else -1]
        return known or (Layout(SEQUENCE, (1, shapes[0][1])) if wide and self.size[0] > 1 else None)

    def readout_layers(self) -> tuple[str, ...]:
        """Names of the layers that the mask reads by default; none for a network without maps.

        The last before each change of resolution; of a transformer that has one resolution a few blocks.
        """
        # Dropout and softmax make no resolution, but they may work on attention, which looks like a map.
        maps = [run for run in self.order if id(run) in self.layouts and not isinstance(run.module, ATTENTION)]
        places = {id(run): self.layouts[id(run)].grid for run in maps}
        places = {key: size for key, size in places.items() if size != (1, 1)}
        if not places:
            return ()
        blocks = self.blocks()
        runs = spread(blocks) or readout_calls(self.root, places, self.size, self.usable)
        return tuple(self.names[id(run.module)] for run in runs if id(run.module) in self.names)

    def blocks(self) -> list[Call]:
        """The blocks of a transformer whose tokens have one resolution, or of a network all of whose maps have one.

        None of any other network.
        """
        maps = {key: layout.grid for key, layout in self.layouts.items() if layout.grid != (1, 1)}
        tokens = {key: grid for key, grid in maps.items() if self.layouts[key].kind in (TOKENS, SEQUENCE)}
        isotropic = self._blocks_of(maps, MOST_MAPS)  # some keep their tokens as maps between the blocks
        return self._blocks_of(tokens, MOST) or (isotropic if len(isotropic) >= FEWEST else [])

    def _blocks_of(self, grids: dict[int, tuple[int, int]], most: float) -> list[Call]:
        """The equal blocks at the grid that more than a share `most` of these runs has; none where none has."""
        grid, number = Counter(grids.values()).most_common(1)[0] if grids else ((0, 0), 0)
        if number <= most * len(grids):
            return []
        return equal_blocks(self.root, lambda run: grids.get(id(run)) == grid and self.usable(run))

    @cached_property
    def blind(self) -> set[int]:
        """Ids of runs that give the same whatever the picture: of a network's other inputs."""
        if len(tensors_of(self.images)) < 2:
            return set()

        def differ(features: Tensor) -> Tensor:
            """Whether the two rows do, beyond rounding."""
            rows = features[:2].float()
            if len(rows) < 2 or not rows.numel():  # of positions, a row for all
                return torch.tensor(False)
            return (rows[:1] - rows[1:]).abs().max() > DIFFERENT * rows.abs().max()

        same_others = with_main(self.images, main_tensor(self.images))
        root, _ = trace(self.network, same_others, differ)
        pairs = zip(self.order, root.finished(), strict=False)
        return {id(run) for run, other in pairs if other.seen is not None and not other.seen}

    def usable(self, run: Call) -> bool:
        """Whether a hook can tell this run from others of the same module: the only one, or the one chosen."""
        runs = self.runs[id(run.module)]
        return len(runs) == 1 or (0 <= self.choice.call < len(runs) and runs[self.choice.call] is run)

    def run_number(self, name: str) -> int:
        """Which run of the layer counts, from 0."""
        return self.runs[id(self.module_of(name))].index(self.run_of(name))

    def block_before(self, name: str) -> str:
        """The last block but one of a transformer, for a layer of the last one or behind; empty for any other layer."""
        blocks = self.blocks()
        if len(blocks) < 2 or self.order.index(self.run_of(name)) <= self.order.index(blocks[-2]):
            return ""
        return self.names.get(id(blocks[-2].module), "")

    def _given(self, run: Call) -> Layout | None:
        """The layout by hand of what this run gives, if it fits."""
        maps = [one for one in self.order if id(one) in self.layouts and len(one.output or ()) == 4]
        return given_layout(run.output, self.choice, [self.layouts[id(one)].grid for one in maps], self.size)

    def run_of(self, name: str) -> Call:
        """The run of a layer that counts: its only one, or the one chosen."""
        runs = self.runs.get(id(self.module_of(name)), [])
        chosen = [run for run in runs if self.usable(run)]
        if chosen:
            return chosen[0]
        message = f"layer '{name}' runs {len(runs)} times in one pass: name one that runs once"
        if id(self.module_of(name)) in self.gone:
            raise MilrError(f"layer '{name}' {NOT_AGAIN}")
        if len(runs) > 1:
            message += f", or say which run, call=0 to {len(runs) - 1}"
        inside = [
            inner
            for inner in self.modules
            if inner.startswith(f"{name}.") and len(self.runs.get(id(self.modules[inner]), ())) == 1
        ]
        if inside and not runs:
            message += f", such as '{inside[-1]}' (torch.fx graphs and some networks call the layers in it alone)"
        elif not runs and any(isinstance(module, torch.jit.ScriptModule) for module in self.network.modules()):
            message += "; TorchScript runs its layers without Python: pass the module that it was made of"
        raise MilrError(message)


def taken(network: nn.Module, images: Inputs) -> str:
    """What is said of a network that fails on a few images and takes another number of them."""
    for number in OTHER_NUMBERS:
        if trace(network, take(images, torch.zeros(number, dtype=torch.long)))[1] is None:
            return f"; it takes {number} at a time, and milr gives it other numbers: let it take any"
    return ""


def check_names(*layers: object) -> None:
    """MilrError for images in the place of a layer's name."""
    for layer in layers:
        if isinstance(layer, Tensor | dict | list | tuple):
            raise MilrError(
                f"layers are given by their names in the network, not as a {type(layer).__name__}: images to find them "
                "by are MILR(network, example=images)"
            )


def check_network(network: object) -> None:
    """MilrError for what is no module that runs in Python."""
    if not isinstance(network, nn.Module):
        raise MilrError(f"the network is a {type(network).__name__}, not a torch.nn.Module: its layers cannot be read")
    if isinstance(network, torch.jit.ScriptModule):
        raise MilrError("the network is TorchScript, whose layers run without Python: pass the module it was made of")
    if isinstance(network, torch.fx.GraphModule) and "eval" in vars(network):  # it raises NotImplementedError
        raise MilrError("the network is a graph of torch.export, which calls no layers: pass the module it was made of")
    if any(is_lazy(parameter) for parameter in network.parameters()):
        raise MilrError("the network has lazy layers that know no shapes yet: run it once on a batch of images")
    if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
        raise MilrError("the network lies on the device meta, without values: load its weights first")
    if any(tensor.is_inference() for tensor in chain(network.parameters(), network.buffers())):
        raise MilrError(
            "the network's weights were made under torch.inference_mode, so no gradient can pass them: build it "
            "outside, or take copy.deepcopy(network) outside"
        )
