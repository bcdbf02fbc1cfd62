"""What can be said of a network's layers after running it once: which run, in which order, which give maps."""

from __future__ import annotations

import difflib
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from milr.errors import MilrError
from milr.networks.inputs import Inputs, count, main_tensor, with_main, written
from milr.networks.layouts import CHANNELS_FIRST, SEQUENCE, TOKENS, Layout
from milr.networks.readout import equal_blocks, readout_calls, spread
from milr.networks.settings import LayerSettings
from milr.networks.tokens import Grid, grids_of, token_layouts
from milr.networks.trace import Call, Shape, layout_of, resolution, trace
from milr.networks.wrappers import modules_by_name, plain_name
from milr.text import first_line

ATTENTION = (nn.Dropout, nn.Softmax)  # what may work on attention of places to places, which looks like a map


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
            ) from error
        self.order = list(self.root.finished())
        self.runs: dict[int, list[Call]] = {}  # of each module, by its id
        for run in self.order:
            self.runs.setdefault(id(run.module), []).append(run)
        self.size = (0, 0)  # (H, W) of the images; (1, T) of sequences
        self.layouts = self._find_layouts()  # of every run that gives a map, by its id
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
            if known in self.modules:
                return known
        near = difflib.get_close_matches(name, self.modules, n=5, cutoff=0.4)
        names = ", ".join(near or [child for child, _ in self.network.named_children()]) or "it has none"
        raise MilrError(f"the network has no layer '{name}'; nearest: {names}")

    def check_order(self, local: str, z: str) -> None:
        """MilrError unless both run once, give one tensor with a row for each image, and `z` ends later."""
        runs = {name: self.run_of(name) for name in (local, z)}
        if self.order.index(runs[z]) <= self.order.index(runs[local]):
            raise MilrError(f"the global layer '{z}' must come after the local layer '{local}'")
        for name, run in runs.items():
            if run.output is None:
                raise MilrError(f"layer '{name}' gives {run.description}: name one that gives one tensor")
            if not run.output or run.output[0] != self.count:
                raise MilrError(
                    f"layer '{name}' gives {run.description} for {self.count} images: its first dimension must "
                    "count the images"
                )

    def layout(self, name: str, what: str, trust: bool = True) -> Layout:
        """How the layer's map lies in memory; what is chosen counts, without `trust` only where it cannot be inferred.

        MilrError for a layer without a map, and where it can neither be inferred nor is given.
        """
        run = self.run_of(name)
        seen, given = self.layouts.get(id(run)), self._given(run.output)
        if trust and self.choice.grid and given is None:
            raise MilrError(
                f"grid={list(self.choice.grid)} with prefix={self.choice.prefix} does not fit {what}, '{name}', which "
                f"gives {run.description}"
            )
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
        """How the global layer's tensor holds places, where it does; as many tokens as the local layer's like those."""
        run = self.run_of(name)
        shapes = [layer.output or () for layer in (run, self.run_of(local))]
        same = len(shapes[0]) == len(shapes[1]) == 3 and shapes[0][1] == shapes[1][1]
        return self.layouts.get(id(run)) or self._given(run.output) or (layout if same else None)

    def readout_layers(self) -> tuple[str, ...]:
        """Names of the layers that the mask reads by default; none for a network without maps.

        The last before each change of resolution; of a transformer that has one resolution a few blocks.
        """
        grids = {id(run): self.layouts[id(run)] for run in self.order if id(run) in self.layouts}
        # Dropout and softmax make no resolution, but they may work on attention, which looks like a map.
        places = {
            id(run): grids[id(run)].grid
            for run in self.order
            if id(run) in grids and not isinstance(run.module, ATTENTION)
        }
        places = {key: size for key, size in places.items() if size != (1, 1)}
        if not places:
            return ()
        blocks = self.blocks()
        runs = spread(blocks) or readout_calls(self.root, places, self.size, self.usable)
        return tuple(self.names[id(run.module)] for run in runs if id(run.module) in self.names)

    def blocks(self) -> list[Call]:
        """The blocks of a transformer whose tokens have one resolution; none of any other network."""
        tokens = {
            id(run): self.layouts[id(run)]
            for run in self.order
            if id(run) in self.layouts and self.layouts[id(run)].kind in (TOKENS, SEQUENCE)
        }
        if len({layout.grid for layout in tokens.values()}) != 1:
            return []
        return equal_blocks(self.root, lambda run: id(run) in tokens and self.usable(run))

    def usable(self, run: Call) -> bool:
        """Whether a hook can tell this run from others of the same module: the only one, or the one chosen."""
        runs = self.runs[id(run.module)]
        return len(runs) == 1 or (0 <= self.choice.call < len(runs) and runs[self.choice.call] is run)

    def run_number(self, name: str) -> int:
        """Which run of the layer counts, from 0."""
        return self.runs[id(self.modules[name])].index(self.run_of(name))

    def block_before(self, name: str) -> str:
        """The block of a transformer before this one; empty for any other layer."""
        blocks, run = self.blocks(), self.run_of(name)
        number = blocks.index(run) if run in blocks else 0
        return self.names.get(id(blocks[number - 1].module), "") if number else ""

    def _given(self, shape: Shape | None) -> Layout | None:
        """The layout that is chosen for a layer of this shape; MilrError where it cannot be."""
        choice = self.choice
        kind = choice.layout if choice.layout != "auto" else TOKENS if choice.grid else ""
        if not kind or shape is None or len(shape) not in (3, 4):
            return None
        if kind == SEQUENCE and len(shape) == 3:
            return Layout(SEQUENCE, (1, shape[1] - max(choice.prefix, 0)), max(choice.prefix, 0))
        if kind == TOKENS and len(shape) == 3:
            return self._given_tokens(shape[1])
        if kind in (TOKENS, SEQUENCE) or (len(shape) == 3 and kind != CHANNELS_FIRST):
            return None
        return Layout(kind, (1, shape[2]) if len(shape) == 3 else resolution(shape, kind))

    def _given_tokens(self, tokens: int) -> Layout | None:
        choice, maps = self.choice, self._map_sizes()
        grids = (
            [Grid((choice.grid[0], choice.grid[1]), ())] if len(choice.grid) == 2 else grids_of(tokens, maps, self.size)
        )
        for grid in grids:
            spare = tokens - grid.size[0] * grid.size[1]
            if spare >= 0 and choice.prefix <= spare:
                return Layout(TOKENS, grid.size, choice.prefix if choice.prefix >= 0 else spare)
        return None

    def _map_sizes(self) -> list[tuple[int, int]]:
        shapes = [(run, self.layouts.get(id(run))) for run in self.order]
        return [layout.grid for run, layout in shapes if layout and run.output and len(run.output) == 4]

    def _find_layouts(self) -> dict[int, Layout]:
        if main_tensor(self.images).ndim not in (2, 3, 4):
            return {}
        larger = self._larger_shapes()
        found: dict[int, Layout] = {}
        shapes: dict[int, Shape] = {}
        for (key, shape), run in zip(_shapes_by_run(self.root).items(), self.order, strict=True):
            if not shape or shape[0] != self.count:
                continue
            if self.size[0] == 1:
                if layout := sequence_of(shape, larger.get(key), self.size[1]):
                    found[id(run)] = layout
            elif len(shape) == 3:
                if shape[1] != shape[2] or not isinstance(run.module, ATTENTION):
                    shapes[id(run)] = shape
            elif kind := layout_of(shape, larger.get(key), self.size):
                found[id(run)] = Layout(kind, resolution(shape, kind))
        return found | self._find_tokens(found, shapes)

    def _find_tokens(self, maps: dict[int, Layout], shapes: dict[int, Shape]) -> dict[int, Layout]:
        """Layouts of the runs that give [K, T, C] of images."""
        sizes: list[tuple[int, int]] = [layout.grid for layout in maps.values()]
        if not shapes:
            return {}
        grids = {shape[1]: grids_of(shape[1], sizes, self.size) for shape in shapes.values()}
        numbers = {number: shapes[id(run)] for number, run in enumerate(self.order) if id(run) in shapes}
        found = token_layouts(self.network, self.images, numbers, grids, self.size)
        return {id(self.order[number]): layout for number, layout in found.items()}

    def _larger_shapes(self) -> dict[tuple[int, int], Shape | None]:
        """Shapes for an image of twice the height, or a sequence of twice the length: it may take one size only."""
        main = main_tensor(self.images)
        if main.ndim == 4:
            self.size = image_size(main.shape)
            axes = [list(main.shape).index(self.size[0], 1)]
        else:
            self.size = (1, main.shape[1])
            axes = list(range(1, main.ndim)) if isinstance(self.images, Tensor) else []  # masks have the length, too
        larger = Call(self.network)
        for axis in axes:
            larger, error = trace(self.network, with_main(self.images, torch.cat([main[:1]] * 2, axis)))
            if error is None and main.ndim < 4:
                self.size = (1, main.shape[axis])
                break
        return _shapes_by_run(larger)

    def run_of(self, name: str) -> Call:
        """The run of a layer that counts: its only one, or the one chosen."""
        runs = self.runs.get(id(self.modules[name]), [])
        chosen = [run for run in runs if self.usable(run)]
        if chosen:
            return chosen[0]
        message = f"layer '{name}' runs {len(runs)} times in one pass: name one that runs once"
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


def sequence_of(shape: Shape, longer: Shape | None, length: int) -> Layout | None:
    """How [K, T, C] or [K, C, T] holds the places of a sequence of this length.

    `longer` is the shape of the same layer's output for a longer sequence, None where that is not known.
    """
    if len(shape) != 3:
        return None
    if longer is not None and len(longer) == 3 and longer[1:] != shape[1:]:
        grows = [axis for axis in (1, 2) if longer[axis] > shape[axis]]
    else:
        grows = [axis for axis in (1, 2) if shape[axis] == length]
    if len(grows) != 1:
        return None
    return Layout(SEQUENCE, (1, shape[1])) if grows == [1] else Layout(CHANNELS_FIRST, (1, shape[2]))


def image_size(shape: Shape) -> tuple[int, int]:
    """(H, W) of images [K, 3, H, W], or [K, H, W, 3]."""
    _, first, second, third = shape
    return (first, second) if third <= 4 < first else (second, third)


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
    if any(tensor.is_inference() for tensor in chain(network.parameters(), network.buffers())):
        raise MilrError(
            "the network's weights were made under torch.inference_mode, so no gradient can pass them: build it "
            "outside, or take copy.deepcopy(network) outside"
        )


def _shapes_by_run(root: Call) -> dict[tuple[int, int], Shape | None]:
    """Output shapes by module and the number of its run, in the order in which the runs end."""
    shapes: dict[tuple[int, int], Shape | None] = {}
    counts: dict[int, int] = {}
    for call in root.finished():
        number = counts[id(call.module)] = counts.get(id(call.module), 0) + 1
        shapes[id(call.module), number] = call.output
    return shapes
